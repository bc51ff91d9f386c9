"""What one person made of every kind, and each command, button, menu and dialog about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import discord

from bot.discord.buttons.seals import sealed
from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import InteractionResult, Message, Option
from bot.sandbox.server import SandboxServer
from tests.adapters import tensors, widths, write_adapter
from tests.media import guide_files, write_zip
from tests.wire.bot.added_runs import add_run, add_trained_run, place_of
from tests.wire.bot.chat import Chat
from tests.wire.bot.forged import forged
from training.registry.dataset_draft import Upload
from training.runs import events as ev

T2V = "wan21-t2v-1-3b"
_IN_PLACE = ("help:", "runs:", "storage:page:", "cap:", "plan:")
_MOST_BUTTONS = 20  # in one message, which has room for 25


@dataclass(frozen=True)
class Everything:
    """Ways to drive everything: options of commands, and custom ids of buttons and menus.

    Attributes:
        commands: The options, by command.
        buttons: The custom ids, by item.
        menus: The custom ids and the values to choose, by item.
        posted: A message with a zip, for the message command.
    """

    commands: Mapping[str, Mapping[str, Option]]
    buttons: Mapping[str, str]
    menus: Mapping[str, tuple[str, str]]
    posted: Message

    async def drive(self, chat: Chat, bot: RunningBot) -> None:
        """Let a person use everything once; the dialogs are opened, but not sent."""
        for command, options in self.commands.items():
            await chat.ask(command.removeprefix("/"), **options)
        await chat.user.reply(await chat.user.context("Use as dataset", self.posted))
        ids = list(self.buttons.values())
        while ids:
            message = await forged(bot, chat, *map(button, ids[:_MOST_BUTTONS]))
            for custom_id in ids[:_MOST_BUTTONS]:
                await _answered(chat, await chat.user.press(message, custom_id))
                ids.remove(custom_id)
                if custom_id.startswith(_IN_PLACE):
                    break  # the answer may have replaced the other buttons
        for custom_id, value in self.menus.values():
            message = await forged(bot, chat, _menu(custom_id, value))
            await _answered(chat, await chat.user.select(message, custom_id, [value]))


async def make_everything(
    chat: Chat, local: LocalInstallation, server: SandboxServer, folder: Path
) -> Everything:
    """Let a person make one of everything; nothing trains."""
    archive = write_zip(folder / "annika.zip", guide_files(images=2, clips=1, frames=49))
    _store(local, server, archive, folder)
    guild = place_of(server).guild
    removals = {
        kind: local.restores.removals(guild, kind)[0].id
        for kind in ("datasets", "checkpoints", "runs")
    }
    lacks = {k: v for k, v in guide_files(images=3, clips=0).items() if k != "images/000.txt"}
    waiting = await chat.ask("dataset add", name="w", zip=write_zip(folder / "w.zip", lacks))
    plan = await chat.ask("train", model=T2V, dataset="annika", name="p", learning_rate="0.1")
    upload = await chat.ask("dataset upload", name="u")
    session = _id(upload, "Revoke").removeprefix("revoke:")
    return Everything(
        commands=_commands(archive, folder / "annika.safetensors"),
        buttons={
            **_run_buttons(),
            **_dataset_buttons(guild, _id(waiting, "Captions").split(":")[2]),
            **_plan_buttons(_id(plan, "Start").removeprefix("plan:start:")),
            **{f"UndoButton: {kind}": f"restore:{kind}:{one}" for kind, one in removals.items()},
            **{
                f"HelpButton: {it}": f"help:{it}" for it in ("start", "upload", "train", "download")
            },
            **{f"RunPageButton: {whose}": f"runs:1:{whose}::" for whose in ("mine", "all")},
            "RevokeButton": f"revoke:{session}",
            "LargerButton": f"larger:{session}",
            "StoragePageButton": "storage:page:1",
            "HubTokenButton": "hub-token",
            **{f"StorageButton: {act}": f"storage:{act}:" for act in ("ask-empty", "empty")},
            "StorageButton: remove": "storage:remove:run:done",
        },
        menus={
            "EpochMenu": ("epochs:done:0", "1"),
            "StorageMenu": ("storage:menu", "run:done"),
            "ModelMenu": ("train-model:annika@1", T2V),
        },
        posted=await chat.user.post("mine", [archive]),
    )


def _store(local: LocalInstallation, server: SandboxServer, archive: Path, folder: Path) -> None:
    place, at = place_of(server), datetime.now(UTC)
    for name in ("annika", "berta"):
        upload = Upload(archive=archive, by=place.owner, file_name=f"{name}.zip")
        local.datasets.add(place.guild, name, upload)
        file = write_adapter(folder / f"{name}.safetensors", tensors(widths(T2V)))
        local.loras.add(place.guild, file, model=T2V, expert=None, name=name, by=place.owner)
    add_run(local, place, "open")
    add_run(local, place, "failed", ev.RunFailed(at=at, cause="No space.", fix="Try again."))
    for name in ("done", "removed"):
        add_trained_run(local, place, name, b"weights", ev.RunSucceeded(at=at))
    local.dataset_removals.remove(place.guild, "berta", by=place.owner)
    local.lora_removals.remove(place.guild, "berta", by=place.owner)
    local.run_removals.remove(place.guild, "removed", by=place.owner)


def _commands(archive: Path, lora: Path) -> dict[str, dict[str, Option]]:
    annika: dict[str, Option] = {"name": "annika"}
    nothing: dict[str, Option] = {}
    return {
        "/train": {"model": T2V, "dataset": "annika"},
        "/checkpoint add": {"file": lora, "model": T2V, "name": "berta"},
        "/checkpoint list": nothing,
        "/checkpoint remove": annika,
        "/checkpoint restore": {"name": "berta"},
        "/checkpoint upload": {"model": T2V, "name": "berta"},
        "/dataset add": {"name": "annika", "zip": archive},
        "/dataset check": annika,
        "/dataset list": nothing,
        "/dataset show": annika,
        "/dataset remove": annika,
        "/dataset captions": {"name": "annika", "prefix": True, "trigger": "ohwx"},
        "/dataset caption": annika,
        "/dataset diff": {"old": "annika@1", "new": "annika@1"},
        "/dataset upload": annika,
        "/dataset import": {"name": "annika", "url": "https://example.org/annika.zip"},
        "/dataset restore": {"name": "berta"},
        "/run remove": {"run_name": "done"},
        "/run restore": {"run_name": "removed"},
        "/help": nothing,
        "/storage": nothing,
        "/models": nothing,
        "/settings": {"ask_above": 5},
        "/runs": nothing,
        "/status": {"run_name": "open"},
        "/cancel": {"run_name": "open"},
        "/resume": {"run_name": "failed"},
        "/download": {"run_name": "done"},
    }


def _run_buttons() -> dict[str, str]:
    runs = dict.fromkeys(("details", "log", "download", "again"), "done")
    runs |= dict.fromkeys(("save", "finish", "cancel"), "open")
    runs |= dict.fromkeys(("resume", "retry"), "failed")
    found = {f"RunButton: {action}": f"{action}:{run}" for action, run in runs.items()}
    return found | {"RevokeLinksButton": "revoke-links:done", "ClipsButton": "clips:open"}


def _dataset_buttons(guild: str, token: str) -> dict[str, str]:
    of_version = ("repaired", "original", "prefix", "captions", "remove", "remove-now")
    of_version += ("remove-all", "layout")
    of_upload = ("store", "store-original", "store-prefix", "layout-check", "table", "leave-out")
    of_upload += ("leave-out-bad", "ask-trigger", "trigger-only")
    about = dict.fromkeys(of_version, "annika@1") | dict.fromkeys(of_upload, token)
    found = {
        f"DatasetButton: {action}": f"ds:{action}:{its}:{sealed(guild, its)}"
        for action, its in about.items()
    }
    whose = f"annika@1:{sealed(guild, 'annika@1')}"
    found |= {f"ProposalsButton: {it}": f"cap:{it}:style:{whose}" for it in ("missing", "all")}
    return found | {"TrainButton": f"train:{whose}"}


def _plan_buttons(about: str) -> dict[str, str]:
    actions = ("start", "change", "clips", "dismiss")
    return {f"PlanButton: {action}": f"plan:{action}:{about}" for action in actions}


def _id(message: Message, label: str) -> str:
    return str(message.buttons[label]["custom_id"])


def button(custom_id: str) -> discord.ui.Button[discord.ui.View]:
    return discord.ui.Button(label=custom_id[:80], custom_id=custom_id)


def _menu(custom_id: str, value: str) -> discord.ui.Select[discord.ui.View]:
    return discord.ui.Select(custom_id=custom_id, options=[discord.SelectOption(label=value)])


async def _answered(chat: Chat, pressed: InteractionResult) -> None:
    assert pressed.status != "failed"
    if pressed.modal is None:
        await chat.user.reply(pressed)
