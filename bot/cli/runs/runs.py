"""`lorabot runs`, `lorabot cancel` and `lorabot download`."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from bot.cli.options import GUILD, OPERATOR, Home, Json, RunName
from bot.cli.output import console, fetched, print_json
from bot.web.archive import Stored, ZipMember, stream_zip
from bot.web.bundle import READ_ME, bundle
from training.pipeline.checkpoint_sets import require_checkpoints

_BLOCK_BYTES = 1 << 20
Rebuild = Annotated[
    bool, Parameter(help="Forget the index and read every run's folder again.", negative=())
]


def runs(*, json: Json = False, rebuild: Rebuild = False, home: Home | None = None) -> None:
    """List all runs, newest first."""
    local = (home or Home()).open()
    if rebuild:
        local.runs.rebuild_index()
    found = local.runs.summaries(GUILD)
    if json:
        print_json([summary.model_dump(mode="json") for summary in found])
        return
    table = Table("run", "model", "dataset", "state", "experts", box=None)
    # Whole in any terminal: it is what people type.
    table.columns[0].min_width = max((len(run.name) for run in found), default=0)
    for run in found:
        experts = ", ".join(f"{e.name} {e.step}/{e.total_steps}" for e in run.experts)
        table.add_row(run.name, run.model, run.dataset, run.state, experts)
    console.print(table if found else "No runs yet: start one with lorabot train.")


def cancel(run: RunName, /, *, home: Home | None = None) -> None:
    """Stop a run; its checkpoints are kept."""
    local = (home or Home()).open()
    local.runs.cancel(GUILD, run, by=OPERATOR)
    local.ensure_worker()
    console.print(f"{run} is being stopped; its checkpoints are kept.")


def download(
    run: RunName,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder; made when it is not there.")],
    epoch: Annotated[int | None, Parameter(help="Only the checkpoints of this epoch.")] = None,
    zip: Annotated[  # noqa: A002  # the option's name
        bool, Parameter(help="One zip: high and low paired by epoch.", negative=())
    ] = False,
    home: Home | None = None,
) -> None:
    """Copy the checkpoints of a run into a folder, with a workflow for ComfyUI."""
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
    """Have the files here before they are written: they may lie elsewhere."""
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
    """Write a file that appears under its name only when complete."""
    partial = target.with_name(f".{target.name}.part")
    with partial.open("wb") as file:
        for block in blocks:
            file.write(block)
    partial.replace(target)
    console.print(str(target), markup=False)
