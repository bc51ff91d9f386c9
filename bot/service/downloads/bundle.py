"""The contents of a run's zip: checkpoints grouped by epoch, a workflow and a README."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bot.messages.runs.downloads import read_me
from bot.service.downloads.archive import ZipMember
from bot.service.downloads.checks import checksum
from bot.service.downloads.content import FileRange
from training.comfyui.workflow import build
from training.errors import NotFoundError
from training.pipeline.checkpoint_sets import CheckpointSet, best_set, sets
from training.ports import Store
from training.remedies import ShowRuns, StartRun
from training.runs.state import Checkpoint, Run

READ_ME = "README.txt"
OWN_MEMBERS = 2  # README and workflow


@dataclass(frozen=True, slots=True)
class Bundle:
    """The members of a zip, and the names of the files that are missing or damaged."""

    members: list[ZipMember]
    missing: tuple[str, ...]


def bundle(store: Store, run: Run, epoch: int | None = None) -> Bundle:
    """Return all checkpoints of a run, or those of one epoch, with a README and a workflow.

    Raises:
        NotFoundError: The run saved no such checkpoint, or all are missing or damaged.
    """
    chosen = [one for one in sets(run) if epoch in (None, one.epoch)]
    if not chosen:
        raise _not_found(run, epoch)
    folder, saved_at = run.spec.keys.folder, run.ended_at or run.spec.created_at
    sizes = {file.key: file.size_bytes for file in store.walk(f"{folder}/checkpoints")}
    members: list[ZipMember] = []
    missing: list[str] = []
    for one in chosen:
        for file in one.files.values():
            place = _place(run, one, file.file)
            part = None
            if sizes.get(f"{folder}/{file.file}") == file.size_bytes:
                part = file_part(store, run, file)
            if part is None or part.is_known_to_be_altered():
                missing.append(place)
            else:
                members.append(ZipMember(place, part, saved_at))
    if not members:
        raise gone(missing)
    shown = chosen[0] if epoch is not None else best_set(run) or chosen[0]
    loaded = ", ".join(PurePosixPath(file.file).name for file in shown.files.values())
    text = read_me(run.spec, chosen, loaded, missing).encode()
    own = [ZipMember(READ_ME, text), ZipMember(*workflow_file(run, shown))]
    return Bundle([*own, *members], tuple(missing))


def gone(missing: Sequence[str]) -> NotFoundError:
    """Return the error for checkpoints that were saved but are missing or damaged."""
    are = "is" if len(missing) == 1 else "are"
    return NotFoundError(
        f"{', '.join(missing)} {are} missing or damaged in the store.",
        "Resume the run, or start another one, to train them again.",
        StartRun(),
    )


def _not_found(run: Run, epoch: int | None) -> NotFoundError:
    name, epochs = run.spec.name, sorted(one.epoch for one in sets(run))
    if not epochs:
        return NotFoundError(f"{name} has no checkpoint.", "See the run.", ShowRuns(run=name))
    return NotFoundError(
        f"{name} has no checkpoint of epoch {epoch}.",
        f"Choose one of its epochs: {', '.join(map(str, epochs))}.",
        ShowRuns(run=name),
    )


def file_part(store: Store, run: Run, file: Checkpoint) -> FileRange:
    """Return the range that covers a checkpoint. If an old run recorded no checksum, compute it.

    Raises:
        NotFoundError: The file is gone, so its checksum cannot be computed.
    """
    key, crc32 = f"{run.spec.keys.folder}/{file.file}", file.crc32
    if crc32 is None:
        try:
            crc32 = checksum(store.reader(key))
        except FileNotFoundError as error:
            raise gone([PurePosixPath(key).name]) from error
    return FileRange.of(store, key, file.size_bytes, crc32)


def workflow_file(run: Run, chosen: CheckpointSet | None = None) -> tuple[str, bytes]:
    """Return the name and content of a ComfyUI workflow.

    It loads the checkpoints in `chosen`: by default those of the newest epoch for which every
    expert has one, or else the newest of each expert.

    Raises:
        NotFoundError: The run has no checkpoint.
    """
    found = chosen or best_set(run)
    if found is None:
        raise NotFoundError(f"{run.spec.name} has no checkpoint.", "See /status.")
    text = json.dumps(build(run.spec, found), indent=1)
    return f"{run.spec.name}-comfyui.json", text.encode()


def _place(run: Run, one: CheckpointSet, file: str) -> str:
    name = file.rpartition("/")[2]
    if len(run.spec.experts) == 1:
        return name
    return f"epoch-{one.epoch:06d}/{name}" if one.is_complete else f"unpaired/{name}"
