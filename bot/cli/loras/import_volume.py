"""`lorabot import-volume`: import datasets and LoRA files from the guide's Volumes."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated

from cyclopts import CycloptsError, Parameter

from bot.cli.home import OPERATOR, ServerHome
from bot.cli.output import console, errors, fetched, plain, print_json
from bot.cli.parameters import Json
from bot.deploy.operator import open_source
from bot.messages.figures import size
from bot.service.guide_import import Binding, GuideImport, Outcome, Source
from training.catalogue.models import find_model
from training.errors import NotFoundError
from training.registry.guide_volumes import (
    FoundCheckpoint,
    FoundDataset,
    find_checkpoints,
    find_datasets,
)
from training.vocabulary import ExpertName

Found = FoundDataset | FoundCheckpoint


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class What:
    """What to import, and from where."""

    all: Annotated[bool, Parameter(help="Import everything.", negative=())] = False
    list: Annotated[bool, Parameter(help="Only list what could be imported.", negative=())] = False
    datasets: Annotated[str, Parameter(help="The Volume with datasets.")] = "datasets"
    checkpoints: Annotated[str, Parameter(help="The Volume with LoRA files.")] = "kohya-volume"
    model: Annotated[
        str | None,
        Parameter(help="Model of LoRA files whose headers do not name it."),
    ] = None
    expert: Annotated[
        ExpertName | None,
        Parameter(help="Wan 2.2: expert of files whose headers do not name it."),
    ] = None


@dataclass(frozen=True, slots=True)
class _Volume:
    """A Volume and its importable contents."""

    source: Source
    found: Sequence[Found]


def import_volume(
    *names: Annotated[str, Parameter(help="What to import, as named by --list.")],
    what: What | None = None,
    json: Json = False,
    home: ServerHome | None = None,
) -> None:
    what = what or What()
    if sum((what.all, what.list, bool(names))) != 1:
        raise CycloptsError(msg="Name what to import, or use --all. --list shows what is there.")
    if what.model is not None:
        find_model(what.model)
    home = home or ServerHome()
    home = replace(home, backend=home.backend or "modal")
    home.settings()
    volumes = _look(what, is_quiet=json)
    if what.list:
        _list(volumes, is_json=json)
        return
    chosen = _choose(volumes, names)
    importer = GuideImport(home.open(), home.guild, OPERATOR)
    binding = Binding(what.model, what.expert)
    outcomes: list[Outcome] = []
    for source, item in chosen:
        outcomes.append(_import(importer, source, item, binding, is_quiet=json))
        if not json:
            _print(outcomes[-1])
    if json:
        print_json([asdict(outcome) for outcome in outcomes])
    left = sum(outcome.status == "not imported" for outcome in outcomes)
    if left:
        errors.print(f"{left} of {len(outcomes)} were not imported.")
        sys.exit(1)


def _look(what: What, *, is_quiet: bool) -> list[_Volume]:
    """Return what the two Volumes contain. One of them may be missing.

    Raises:
        NotFoundError: Both are missing.
    """
    volumes: list[_Volume] = []
    for name, find in ((what.datasets, find_datasets), (what.checkpoints, find_checkpoints)):
        source = open_source(name)
        try:
            volumes.append(_Volume(source, find(source.files())))
        except FileNotFoundError:
            if not is_quiet:
                errors.print(f"There is no Volume called {name} in this workspace.", markup=False)
    if not volumes:
        raise NotFoundError(
            "Neither Volume exists.",
            "Run `modal volume list`, then name the Volumes with --datasets and --checkpoints.",
        )
    return volumes


def _choose(volumes: Sequence[_Volume], names: Sequence[str]) -> list[tuple[Source, Found]]:
    """Return the named items, or all of them.

    Raises:
        NotFoundError: Nothing of that name was found.
    """
    known = [(volume.source, item) for volume in volumes for item in volume.found]
    unknown = set(names) - {item.name for _, item in known}
    if unknown:
        raise NotFoundError(
            f"The Volumes contain nothing called {', '.join(sorted(unknown))}.",
            f"Found: {', '.join(item.name for _, item in known) or 'nothing'}.",
        )
    return [(source, item) for source, item in known if not names or item.name in names]


def _import(
    importer: GuideImport, source: Source, item: Found, binding: Binding, *, is_quiet: bool
) -> Outcome:
    total = item.size_bytes if isinstance(item, FoundDataset) else item.file.size_bytes
    with fetched(total, item.name, is_quiet=is_quiet) as show:
        if isinstance(item, FoundDataset):
            return importer.dataset(source, item, show)
        return importer.checkpoint(source, item, binding, show)


def _list(volumes: Sequence[_Volume], *, is_json: bool) -> None:
    rows = list(_rows(volumes))
    if is_json:
        print_json(rows)
        return
    if not rows:
        console.print("The Volumes contain no dataset and no LoRA file.")
    # Not a table, which would truncate names that people have to type.
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        holds = f"dataset of {row['media']}" if row["kind"] == "dataset" else "LoRA"
        line = f"{row['name']:<{width}}  {holds:<14}  {size(int(row['size_bytes'])):>8}"
        console.print(f"{line}  {row['path']}", markup=False)


def _rows(volumes: Sequence[_Volume]) -> Iterator[dict[str, str | int]]:
    for volume in volumes:
        for item in volume.found:
            if isinstance(item, FoundDataset):
                kind = {"kind": "dataset", "path": f"/{item.folder}"}
                yield {
                    "name": item.name,
                    **kind,
                    "media": item.media,
                    "size_bytes": item.size_bytes,
                }
            else:
                kind = {"kind": "checkpoint", "path": f"/{item.file.path}"}
                yield {"name": item.name, **kind, "size_bytes": item.file.size_bytes}


def _print(outcome: Outcome) -> None:
    console.print(f"{outcome.kind} {plain(outcome.name)}: {outcome.status}, {plain(outcome.text)}")
    if outcome.fix:
        console.print(f"  {plain(outcome.fix)}")
