"""`lorabot download`: checkpoints of a run, copied into a folder."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bot.cli.home import GUILD, Home
from bot.cli.output import console, fetched
from bot.cli.parameters import RunName
from bot.service.downloads.archive import Stored, ZipMember, stream_zip
from bot.service.downloads.bundle import READ_ME, bundle
from training.pipeline.checkpoint_sets import require_checkpoints

_BLOCK_BYTES = 1 << 20


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
    local = (home or Home()).open()
    require_checkpoints(local.runs.view(GUILD, run))
    members = bundle(local.runtime.store, GUILD, run, epoch)
    _fetch(members)
    out.mkdir(parents=True, exist_ok=True)
    if zip:
        name = run if epoch is None else f"{run}-e{epoch}"
        _write(out / f"{name}.zip", stream_zip(members))
        return
    for member in members:
        if member.name != READ_ME:
            _write(out / Path(member.name).name, _blocks(member))


def _fetch(members: Sequence[ZipMember]) -> None:
    """Fetch the files of a remote store before they are copied."""
    stored = [member.source for member in members if isinstance(member.source, Stored)]
    with fetched(sum(source.size_bytes for source in stored)) as show:
        before = 0
        for source in stored:
            source.store.fetch(source.key, lambda here, before=before: show(before + here))
            before += source.size_bytes
            show(before)


def _blocks(member: ZipMember) -> Iterator[bytes]:
    with member.open() as source:
        while block := source.read(_BLOCK_BYTES):
            yield block


def _write(target: Path, blocks: Iterable[bytes]) -> None:
    """Write a file atomically."""
    partial = target.with_name(f".{target.name}.part")
    with partial.open("wb") as file:
        for block in blocks:
            file.write(block)
    partial.replace(target)
    console.print(str(target), markup=False)
