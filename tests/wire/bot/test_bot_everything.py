"""Every command, button, menu and dialog: what works, what is refused, and who may use it.

`driven.toml` names a test in which each of them works. While such a test runs, its sandbox records
what people drive, and the test fails if that is not what the table says.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Modal
from bot.sandbox.server import SandboxServer
from bot.sandbox.wire import Json
from storage.local.store import FolderStore
from tests.wire.bot.chat import Chat
from tests.wire.bot.driven import TABLE, Driven, buttons_and_menus, commands, dialogs
from tests.wire.bot.everything import Everything, button, make_everything
from tests.wire.bot.forged import forged

# Every member may use these, whoever made what they are about.
OPEN_TO_ALL = {
    *("/train", "/help", "/models", "/runs", "/status", "/storage", "/download"),
    *("/checkpoint list", "/dataset check", "/dataset diff", "/dataset list", "/dataset show"),
    *("DatasetButton: ask-trigger", "DatasetButton: captions", "DatasetButton: table"),
    *("RunButton: details", "RunButton: log", "RunButton: download", "RunButton: again"),
    *("EpochMenu", "TrainButton", "ModelMenu", "StoragePageButton"),
    *("RunPageButton: all", "RunPageButton: mine"),
    *("HelpButton: start", "HelpButton: upload", "HelpButton: train", "HelpButton: download"),
}
# These read nothing that is stored, so nothing can be missing.
READ_NOTHING = {"/help", "/models", "HelpButton: start", "HubTokenButton"}
MANAGE_SERVER = 1 << 5
FILLED_IN = {
    "Settings (TOML)": "rank = 8",
    "Token with read access; leave empty to remove": "hf_0123456789",
}


@contextmanager
def unreadable_store(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Let every access to the store fail, as on a broken disk."""

    def fail(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        for name in ("read", "exists", "names", "read_all", "walk", "fetch", "create", "write"):
            broken.setattr(FolderStore, name, fail)
        yield


def let_manage(server: SandboxServer, *, may: bool) -> None:
    """Give everybody the Manage Server permission, or take it away."""
    studio = next(one for one in server.world.guilds.values() if one["name"] == "Studio A")
    everyone: Json = studio["roles"][0]
    bits = int(everyone["permissions"])
    everyone["permissions"] = str(bits | MANAGE_SERVER if may else bits & ~MANAGE_SERVER)
    server.world.save_guild(studio)


async def open_dialogs(bot: RunningBot, chat: Chat, everything: Everything) -> list[Modal]:
    ids = [everything.buttons[item] for item in ("PlanButton: change", "HubTokenButton")]
    message = await forged(bot, chat, *map(button, ids))
    opened = [(await chat.user.press(message, one)).modal for one in ids]
    return [modal for modal in opened if modal is not None]


async def send(chat: Chat, opened: list[Modal]) -> None:
    for modal in opened:
        (label,) = modal.labels
        await chat.user.reply(await chat.user.submit(modal, {label: FILLED_IN[label]}))


@pytest.fixture
async def everything(
    ada: Chat, local: LocalInstallation, server: SandboxServer, tmp_path: Path, no_worker: None
) -> Everything:
    return await make_everything(ada, local, server, tmp_path)


def test_every_one_works_in_a_test(bot: RunningBot) -> None:
    every = {*commands(bot.client.tree), *buttons_and_menus(), *dialogs()}

    assert set(TABLE) == every
    for item, test in TABLE.items():
        file, *_, name = test.split("::")
        code = (Path(__file__).parent / file).read_text("utf-8")
        assert f"def {name}(" in code, item


async def test_members_without_rights_can_use_only_what_is_open_to_all(
    everything: Everything, ben: Chat, bot: RunningBot, server: SandboxServer
) -> None:
    for command in server.commands.of(None):
        command["default_member_permissions"] = None
    driven = Driven(server)

    await everything.drive(ben, bot)

    forbidden = {item for item, outcome in driven.seen if outcome == "forbidden"}
    rest = {item for item, outcome in driven.seen if outcome != "forbidden"}
    assert rest == OPEN_TO_ALL
    assert forbidden == set(TABLE) - OPEN_TO_ALL - set(dialogs())


async def test_every_one_is_answered_while_the_store_cannot_be_read(
    everything: Everything,
    ada: Chat,
    bot: RunningBot,
    server: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driven = Driven(server)

    with unreadable_store(monkeypatch):
        await everything.drive(ada, bot)

    refused = {item for item, outcome in driven.seen if outcome == "refused"}
    assert {item for item, outcome in driven.seen if outcome != "refused"} == READ_NOTHING
    assert refused == set(TABLE) - READ_NOTHING - set(dialogs())


async def test_every_dialog_checks_rights_again_when_it_is_sent(
    everything: Everything, ben: Chat, bot: RunningBot, server: SandboxServer
) -> None:
    let_manage(server, may=True)
    opened = await open_dialogs(bot, ben, everything)
    let_manage(server, may=False)
    driven = Driven(server, {modal.custom_id: modal.title for modal in opened})

    await send(ben, opened)

    assert driven.seen == {(dialog, "forbidden") for dialog in dialogs()}


async def test_every_dialog_is_answered_while_the_store_cannot_be_read(
    everything: Everything,
    ada: Chat,
    bot: RunningBot,
    server: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = await open_dialogs(bot, ada, everything)
    driven = Driven(server, {modal.custom_id: modal.title for modal in opened})

    with unreadable_store(monkeypatch):
        await send(ada, opened)

    assert driven.seen == {(dialog, "refused") for dialog in dialogs()}
