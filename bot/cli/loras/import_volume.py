"""`lorabot import-volume`: import datasets and LoRA files from the Volumes of the guide's scripts.

README.md explains what the guide is.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from cyclopts import CycloptsError, Parameter

from bot.cli.home import OPERATOR, ServerHome
from bot.cli.output import console, errors, plain, print_json
from bot.cli.parameters import Json
from bot.cli.progress import fetched
from bot.deploy.operator import open_source
from bot.messages.imports import ImportedItem, import_record
from bot.service.guide_import import Binding, GuideImport, Source
from training.catalogue.models import find_model
from training.errors import NotFoundError
from training.files.sizes import size
from training.registry.guide_volumes import (
    FoundDataset,
    FoundLora,
    find_datasets,
    find_loras,
)
from training.vocabulary import ExpertName

Found = FoundDataset | FoundLora


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class What:
    """What to import and from where."""

    all: Annotated[bool, Parameter(help="Import everything.", negative=())] = False
    list: Annotated[bool, Parameter(help="Only list what could be imported.", negative=())] = False
    datasets: Annotated[str, Parameter(help="The Volume with datasets.")] = "datasets"
    checkpoints: Annotated[str, Parameter(help="The Volume with LoRA files.")] = "kohya-volume"
    model: Annotated[
        str | None,
        Parameter(
            help="The model that LoRA files were trained for, if their headers do not name it."
        ),
    ] = None
    expert: Annotated[
        ExpertName | None,
        Parameter(
            help="Wan 2.2: the expert that LoRA files were trained for, if their headers do not "
            "name it."
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class _Volume:
    """A Volume and its importable contents."""

    source: Source
    found: Sequence[Found]


def import_volume(
    *names: Annotated[str, Parameter(help="What to import: names shown by --list.")],
    what: What | None = None,
    json: Json = False,
    home: ServerHome | None = None,
) -> None:
    what = what or What()
    if sum((what.all, what.list, bool(names))) != 1:
        raise CycloptsError(
            msg="Name what to import, or use --all. --list shows what can be imported."
        )
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
    outcomes: list[dict[str, str]] = []
    for source, item in chosen:
        imported = _import(importer, source, item, binding, is_quiet=json)
        outcomes.append(import_record(imported))
        if not json:
            _print(outcomes[-1])
    if json:
        print_json(outcomes)
    left = sum(outcome["status"] == "not imported" for outcome in outcomes)
    if left:
        errors.print(f"{left} of {len(outcomes)} were not imported.")
        sys.exit(1)


def _look(what: What, *, is_quiet: bool) -> list[_Volume]:
    """Return what the two Volumes contain. Either Volume may be missing.

    Raises:
        NotFoundError: Both Volumes are missing.
    """
    volumes: list[_Volume] = []
    for name, find in ((what.datasets, find_datasets), (what.checkpoints, find_loras)):
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
    """Return the items with these names, each with its Volume; all items if `names` is empty.

    Raises:
        NotFoundError: At least one of these names is not in the Volumes.
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
) -> ImportedItem:
    with fetched(_size_of(item), item.name, is_quiet=is_quiet) as show:
        if isinstance(item, FoundDataset):
            return importer.dataset(source, item, show)
        return importer.lora(source, item, binding, show)


def _list(volumes: Sequence[_Volume], *, is_json: bool) -> None:
    rows = list(_rows(volumes))
    if is_json:
        print_json(rows)
        return
    if not rows:
        console.print("The Volumes contain no dataset and no LoRA file.")
    # Plain lines, because a table would truncate names, and people have to type them.
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        holds = f"dataset of {row['media']}" if row["kind"] == "dataset" else "LoRA"
        line = f"{row['name']:<{width}}  {holds:<14}  {size(int(row['size_bytes'])):>8}"
        console.print(f"{line}  {row['path']}", markup=False)


def _rows(volumes: Sequence[_Volume]) -> Iterator[dict[str, str | int]]:
    for volume in volumes:
        for item in volume.found:
            if isinstance(item, FoundDataset):
                held = {"kind": "dataset", "path": f"/{item.folder}", "media": item.media}
            else:
                held = {"kind": "checkpoint", "path": f"/{item.file.path}"}
            yield {"name": item.name, **held, "size_bytes": _size_of(item)}


def _size_of(item: Found) -> int:
    return item.size_bytes if isinstance(item, FoundDataset) else item.file.size_bytes


def _print(outcome: dict[str, str]) -> None:
    shown = {key: plain(text) for key, text in outcome.items()}
    console.print("{kind} {name}: {status}, {text}".format_map(shown))
    if shown["fix"]:
        console.print(f"  {shown['fix']}")
