"""Names in commands: a wrong one is answered with the nearest; capital letters do not matter."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Option
from bot.sandbox.server import SandboxServer
from bot.sandbox.wire import Json
from bot.sandbox.world.commands import SUBCOMMAND
from tests.adapters import tensors, widths, write_adapter
from tests.many_runs import Crowd
from tests.wire.bot.added_runs import Place, add_run, place_of
from tests.wire.bot.chat import Chat
from training.registry.dataset_draft import Upload
from training.runs import events as ev
from training.runs.events import Event
from training.runs.training_events import CheckpointSaved
from training.vocabulary import StageKey

T2V = "wan21-t2v-1-3b"
# What the options of a command are called that name something stored, and what is stored.
STORED = {
    **dict.fromkeys(("name", "dataset", "old", "new"), "annika"),
    "run-name": "ended-1",
    "resume-from": "annika-lora",
    "gpu": "H200",
}
OF_COMMANDS = {
    "checkpoint remove": "annika-lora",
    "checkpoint restore": "berta-lora",
    "dataset restore": "berta",
    "run restore": "ended-2",
    "cancel": "waiting-run",
}
# These name something new, or are no names.
NEW = {
    *(("dataset add", "name"), ("dataset upload", "name"), ("dataset import", "name")),
    ("train", "settings"),
}
REQUIRED: dict[str, dict[str, Option]] = {
    "train": {"model": T2V, "dataset": "annika"},
    "dataset diff": {"old": "annika", "new": "annika"},
}


def naming_options(server: SandboxServer) -> Iterator[tuple[str, str]]:
    """Yield each command and option that completes a name of something stored."""
    for command in server.commands.of(None):
        inner = [part for part in options_of(command) if part["type"] == SUBCOMMAND]
        for one in inner or [command]:
            name = f"{command['name']} {one['name']}" if inner else str(command["name"])
            for option in options_of(one):
                if option.get("autocomplete") and (name, option["name"]) not in NEW:
                    yield name, str(option["name"])


def options_of(command: Json) -> list[Json]:
    return command.get("options") or []


@pytest.mark.usefixtures("no_worker")
async def test_every_wrong_name_is_answered_with_the_nearest_one(
    ada: Chat, local: LocalInstallation, server: SandboxServer, archive: Path, tmp_path: Path
) -> None:
    store_all(local, server, archive, tmp_path)
    asked = [*naming_options(server)]

    answers: dict[tuple[str, str], tuple[str, str]] = {}
    for command, option in asked:
        stored = OF_COMMANDS.get(command, STORED[option])
        wrong, right = stored[:-3] + stored[-2:], stored.upper()
        given = REQUIRED.get(command, {})
        refusal = await ada.ask(command, **{**given, option: wrong.upper()})
        found = await ada.ask(command, **{**given, option: right})
        answers[command, option] = refusal.text, found.text

    assert len(asked) >= 18
    for (command, option), (refusal, found) in answers.items():
        stored = OF_COMMANDS.get(command, STORED[option])
        assert f"Did you mean {stored}" in refusal, (command, option)
        assert "There is no " not in found, (command, option)
        assert not found.startswith("No "), (command, option)


async def test_starting_points_are_pairs_the_newest_first(
    ada: Chat, local: LocalInstallation, server: SandboxServer
) -> None:
    place = place_of(server)
    for name in ("first", "second"):
        add_ended(local, place, name, *saved_pairs(10, 20), model="wan22-i2v-lightning")

    offered = await ada.user.autocomplete(
        "train", "resume-from", "", {"model": "wan22-i2v-lightning"}
    )
    of_first = await ada.user.autocomplete("train", "resume-from", "FIRST/e2")

    names = [choice.value for choice in offered]
    assert names == ["second/e20", "second/high-e15", "second/e10", *names[3:]]
    assert names[3:] == ["first/e20", "first/high-e15", "first/e10"]
    assert [choice.value for choice in of_first] == ["first/e20"]


@pytest.mark.usefixtures("no_worker")
async def test_every_command_is_offered_only_the_runs_that_fit(
    ada: Chat, local: LocalInstallation, server: SandboxServer
) -> None:
    place, at = place_of(server), datetime.now(UTC)
    add_run(local, place, "open")
    add_ended(local, place, "failed", ev.RunFailed(at=at, cause="No space.", fix="Try again."))
    add_ended(local, place, "cancelled", ev.RunCancelled(at=at))
    for name in ("done", "removed"):
        add_ended(local, place, name, ev.RunSucceeded(at=at))
    local.run_removals.remove(place.guild, "removed", by=place.owner)
    commands = [name for name, option in naming_options(server) if option == "run-name"]

    offered = {
        command: {choice.value for choice in await ada.user.autocomplete(command, "run-name", "")}
        for command in commands
    }

    ended = {"failed", "cancelled", "done"}
    assert offered == {
        "cancel": {"open"},
        "resume": {"failed", "cancelled"},
        "run remove": ended,
        "run restore": {"removed"},
        "status": ended | {"open"},
        "download": ended | {"open"},
    }


def add_ended(
    local: LocalInstallation,
    place: Place,
    name: str,
    *events: Event,
    model: str = T2V,
) -> None:
    """Store a run that ended and whose end is in no channel any more."""
    run = add_run(local, place, name, *events, model=model)
    summary = local.runs.view(place.guild, name).summary(run.created_at)
    local.runtime.store.write(run.keys.ended, summary.model_dump_json().encode())
    for key in (run.keys.open, run.keys.unannounced):
        local.runtime.store.delete(key)


def saved_pairs(*epochs: int) -> Iterator[Event]:
    """Yield checkpoints of both experts, one of the high expert alone, and the end of a run."""
    at = datetime.now(UTC)
    for epoch in (*epochs, 15):
        for expert in ("high", "low") if epoch in epochs else ("high",):
            file = f"checkpoints/{expert}/a-e{epoch}.safetensors"
            body = CheckpointSaved(path=file, epoch=epoch, step=epoch, is_final=False, size_bytes=9)
            yield ev.StageEvent(at=at, key=StageKey("train", expert), attempt=1, body=body)
    yield ev.RunSucceeded(at=at)


def store_all(local: LocalInstallation, server: SandboxServer, archive: Path, folder: Path) -> None:
    """Store a dataset, a LoRA file and runs; remove others, so that they can be restored."""
    place = place_of(server)
    for name in ("annika", "berta"):
        upload = Upload(archive=archive, by=place.owner, file_name=f"{name}.zip")
        local.datasets.add(place.guild, name, upload)
        file = write_adapter(folder / f"{name}.safetensors", tensors(widths(T2V)))
        named = f"{name}-lora"
        local.loras.add(place.guild, file, model=T2V, expert=None, name=named, by=place.owner)
    for number in (1, 2):
        Crowd(local.home, place.guild, place.owner).add_ended(number, place.channel)
    add_run(local, place, "waiting-run")
    local.dataset_removals.remove(place.guild, "berta", by=place.owner)
    local.lora_removals.remove(place.guild, "berta-lora", by=place.owner)
    local.run_removals.remove(place.guild, "ended-2", by=place.owner)
