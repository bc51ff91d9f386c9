"""What a zip of a run holds: the checkpoints, paired by epoch, a workflow, and what to do."""

import json
import textwrap
from pathlib import PurePosixPath

from bot.messages.advice import comfyui_advice
from bot.messages.figures import listed
from bot.messages.run_card import REHEARSAL
from bot.service.downloads.archive import Stored, ZipMember
from training.catalogue.models import find_model
from training.comfyui.workflow import build
from training.errors import NotFoundError
from training.pipeline.checkpoint_sets import CheckpointSet, best_set, sets
from training.ports import Store
from training.runs.event_log import RunLog
from training.runs.state import Run
from training.store_keys import RunKeys

READ_ME = "README.txt"
_WIDTH = 92


def bundle(store: Store, guild: str, name: str, epoch: int | None = None) -> list[ZipMember]:
    """Return what a zip of all checkpoints of a run holds, or of those of one epoch.

    Raises:
        NotFoundError: The run does not exist, or has no such checkpoint.
    """
    run = RunLog(store, guild, name).load()
    chosen = [one for one in sets(run) if epoch in (None, one.epoch)]
    saved_at = run.ended_at or run.spec.created_at
    members = [
        ZipMember(_place(run, one, file.file), Stored(store, key, saved_at, file.size_bytes))
        for one in chosen
        for file in one.files.values()
        if store.exists(key := f"{RunKeys(guild, name).folder}/{file.file}")
    ]
    if not members:
        which = "" if epoch is None else f" of epoch {epoch}"
        raise NotFoundError(
            f"{name} has no checkpoint{which}.", "Use /runs in Discord to see what there is."
        )
    shown = chosen[0] if epoch is not None else best_set(run) or chosen[0]
    loaded = ", ".join(PurePosixPath(file.file).name for file in shown.files.values())
    text = read_me(run, chosen, loaded).encode()
    return [ZipMember(READ_ME, text), workflow_file(run, shown), *members]


def workflow_file(run: Run, chosen: CheckpointSet | None = None) -> ZipMember:
    """Return the ComfyUI workflow of a run, for its newest complete set unless one is given.

    Raises:
        NotFoundError: The run has no checkpoint.
    """
    found = chosen or best_set(run)
    if found is None:
        raise NotFoundError(f"{run.spec.name} has no checkpoint.", "See /status.")
    text = json.dumps(build(run.spec, found), indent=1)
    return ZipMember(f"{run.spec.name}-comfyui.json", text.encode())


def read_me(run: Run, chosen: list[CheckpointSet], loaded: str) -> str:
    """Return what is in the zip, what belongs together, and what to do with it in ComfyUI."""
    spec = run.spec
    lines = [f"{spec.name}: {spec.model} on dataset {spec.dataset}", ""]
    if spec.engine == "rehearsal":
        lines += [REHEARSAL, ""]
    if len(spec.experts) > 1:
        lines += ["High and low of one epoch belong together and are in one folder:"]
        lines += [f"  epoch {one.epoch}" for one in chosen if one.is_complete] or ["  none yet"]
        lines += _unpaired(chosen)
        lines.append("")
    lines.append(f"{spec.name}-comfyui.json: drop it on ComfyUI's page; it loads {loaded}.")
    lines.append("")
    for number, advice in enumerate(comfyui_advice(find_model(spec.model)), start=1):
        plain = f"{number}. {advice.replace('`', '')}"
        lines += textwrap.wrap(plain, _WIDTH, subsequent_indent="   ")
    return "\n".join(lines) + "\n"


def _unpaired(chosen: list[CheckpointSet]) -> list[str]:
    single = [one for one in chosen if not one.is_complete]
    if not single:
        return []
    found = [f"{' and '.join(one.files)} of epoch {one.epoch}" for one in single]
    return [f"Without a partner of the same epoch, in the folder unpaired: {listed(found)}."]


def _place(run: Run, one: CheckpointSet, file: str) -> str:
    name = file.rpartition("/")[2]
    if len(run.spec.experts) == 1:
        return name
    return f"epoch-{one.epoch:06d}/{name}" if one.is_complete else f"unpaired/{name}"
