"""`lorabot download`: copy the checkpoints of a run into a folder."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bot.cli.home import GUILD, Home
from bot.cli.output import console
from bot.cli.parameters import RunName
from bot.cli.progress import fetched
from bot.messages.runs.wording import REHEARSAL
from bot.service.downloads.archive import ZipMember, zip_pieces
from bot.service.downloads.bundle import OWN_MEMBERS, READ_ME, bundle, gone
from bot.service.downloads.content import FileRange, blocks
from training.errors import NotFoundError, RequestError
from training.files.atomic import atomic_file
from training.files.temporary import PARTIAL, remove_abandoned
from training.pipeline.checkpoint_sets import require_checkpoints


def download(
    run: RunName,
    /,
    *,
    out: Annotated[Path, Parameter(help="Target folder; created if it does not exist.")],
    epoch: Annotated[int | None, Parameter(help="Only the checkpoints of this epoch.")] = None,
    zip: Annotated[  # noqa: A002  # the option's name
        bool, Parameter(help="Write one zip, with high and low paired by epoch.", negative=())
    ] = False,
    home: Home | None = None,
) -> None:
    _require_folder(out)
    local = (home or Home()).open()
    view = local.runs.view(GUILD, run)
    require_checkpoints(view)
    found = bundle(local.runtime.store, local.runtime.log(GUILD, run).load(), epoch)
    members, missing = _fetched(found.members), list(found.missing)
    missing += [member.name for member in found.members if member not in members]
    if len(members) == OWN_MEMBERS:
        raise gone(missing)
    out.mkdir(parents=True, exist_ok=True)
    remove_abandoned(out, f".*{PARTIAL}")  # left by a download that was killed
    if zip:
        name = run if epoch is None else f"{run}-e{epoch}"
        _write(out / f"{name}.zip", blocks(zip_pieces(members)))
    else:
        for member in members:
            if member.name != READ_ME:
                _write(out / Path(member.name).name, blocks([member.source]))
    if view.spec.engine == "rehearsal":
        console.print(REHEARSAL)
    if missing:
        raise gone(missing)


def _require_folder(out: Path) -> None:
    """Raise `RequestError` if `--out` looks like a file: nobody wants a folder called mine.zip."""
    if out.is_file() or (out.suffix in (".zip", ".safetensors") and not out.is_dir()):
        raise RequestError(
            f"--out {out} is a file, but the checkpoints need a folder.",
            f"Give a folder, such as {out.with_suffix('') if out.suffix else out.parent}.",
        )


def _fetched(members: Sequence[ZipMember]) -> list[ZipMember]:
    """Make the members' files available locally; return the members that are undamaged."""
    stored = [member.source for member in members if isinstance(member.source, FileRange)]
    whole: list[ZipMember] = []
    with fetched(sum(source.size_bytes for source in stored)) as show:
        before = 0
        for member in members:
            if isinstance(member.source, bytes):
                whole.append(member)
                continue
            source = member.source
            with suppress(NotFoundError, FileNotFoundError):
                source.store.fetch(source.key, lambda here, before=before: show(before + here))
                source.checked()
                whole.append(member)
            before += source.size_bytes
            show(before)
    return whole


def _write(target: Path, content: Iterable[bytes]) -> None:
    """Write a file atomically."""
    with atomic_file(target) as file:
        for block in content:
            file.write(block)
    console.print(str(target), markup=False)
