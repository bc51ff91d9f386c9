"""Downloads that fail, connections that are lost, files too large to send: each has a way on."""

import csv
import io
import random
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from bot.discord.answers import attachment_file
from bot.hosting.bot import RunningBot, running_bot
from bot.hosting.local import LocalInstallation
from bot.sandbox.connect import point_discord_at
from bot.sandbox.faults import DownloadFault, ResetMoment
from bot.sandbox.server import SandboxServer
from bot.sandbox.wire import ApiError
from bot.sandbox.world.world import Change
from tests.media import write_zip
from tests.wire.bot.chat import Chat, is_card
from tests.wire.bot.stored import captions, versions
from training.errors import RequestError

CALLBACK = "POST /interactions/{interaction_id}/{interaction_token}/callback"
EDIT = "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original"
FOLLOW_UP = "POST /webhooks/{webhook_id}/{webhook_token}"
POST = "POST /channels/{channel_id}/messages"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachment_file, "_PAUSES_SECONDS", (0.0, 0.0))


@pytest.mark.parametrize("faults", [["503"], ["cut"], ["503", "cut"]], ids=str)
async def test_an_upload_is_downloaded_again_if_discord_fails(
    ada: Chat,
    server: SandboxServer,
    local: LocalInstallation,
    archive: Path,
    faults: list[DownloadFault],
) -> None:
    server.faults.downloads = faults

    added = await ada.ask("dataset add", name="annika", zip=archive)

    assert "annika@1" in added.text
    assert [version.number for version in versions(local)] == [1]
    assert server.faults.downloads == []


async def test_a_file_that_discord_does_not_deliver_is_asked_for_again(
    ada: Chat, server: SandboxServer, local: LocalInstallation, archive: Path, tmp_path: Path
) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("file,caption\n")
    server.faults.downloads = ["503", "cut", "503"]
    down = await ada.refused("dataset add", name="annika", zip=archive)
    server.faults.downloads = ["404"]
    gone = await ada.refused("dataset add", name="annika", zip=archive)
    await ada.ask("dataset add", name="annika", zip=archive)
    server.faults.downloads = ["503", "503", "cut"]
    captions_down = await ada.refused("dataset captions", name="annika", file=table)
    server.faults.downloads = ["503", "503", "503"]
    toml_down = await ada.refused(
        "train", model="wan21-t2v-1-3b", dataset="annika", dataset_toml=table
    )

    assert "annika.zip in three tries" in down.replace("Discord did not deliver ", "")
    assert "Upload it again in a few minutes" in down
    assert "Discord no longer has annika.zip" in gone
    assert "captions.csv in three tries" in captions_down
    assert "captions.csv in three tries" in toml_down
    assert [version.number for version in versions(local)] == [1]


@pytest.mark.parametrize("operation", [CALLBACK, EDIT])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_answer_survives_a_lost_connection(
    ada: Chat,
    server: SandboxServer,
    local: LocalInstallation,
    archive: Path,
    operation: str,
    moment: ResetMoment,
) -> None:
    server.faults.resets[operation] = [moment]

    added = await ada.ask("dataset add", name="annika", zip=archive)

    assert server.faults.resets[operation] == []
    assert "annika@1" in added.text
    assert len(await ada.user.messages()) == 1


async def test_a_button_survives_a_lost_connection(
    ada: Chat, server: SandboxServer, archive: Path
) -> None:
    added = await ada.ask("dataset add", name="annika", zip=archive)
    server.faults.resets[CALLBACK] = ["after"]

    pressed = await ada.user.press(added, "Captions")

    assert "Captions of annika@1" in (await ada.user.reply(pressed)).text


async def test_an_answer_that_was_lost_says_so_in_plain_words(
    ada: Chat, server: SandboxServer, bot: RunningBot
) -> None:
    server.faults.resets[FOLLOW_UP] = ["before"]

    text = await ada.refused("runs")

    assert "The bot lost a connection" in text
    assert "Something went wrong" not in text


async def test_an_answer_waits_until_discord_is_available(
    ada: Chat, server: SandboxServer, bot: RunningBot
) -> None:
    def fail_the_answer(change: Change) -> None:
        if change.kind == "interaction" and not server.faults.failing:
            server.changes.listeners.remove(fail_the_answer)
            server.faults.fail_next(2, 503)

    server.faults.fail_next(1, 503)
    first = await ada.ask("models")
    server.changes.listeners.append(fail_the_answer)
    second = await ada.ask("runs")

    assert "wan21-t2v-14b" in first.text
    assert "No runs yet" in second.text
    assert server.faults.failing == 0


async def test_a_card_that_discord_does_not_take_now_is_posted_later(
    ada: Chat, server: SandboxServer, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    server.faults.refusals[POST] = ApiError(503, 0, "503: Service Unavailable")
    given = {"model": "wan21-t2v-1-3b", "dataset": "annika", "epochs": "1"}
    started = await ada.ask("train", **given, name="mine")
    before = await ada.user.messages()
    server.faults.refusals.clear()

    card = await ada.card("mine")

    assert "What to do" not in started.text
    assert [message.text for message in before if is_card(message, "mine")] == []
    assert [
        message for message in await ada.user.messages() if "A connection" in message.text
    ] == []
    assert card.id not in {message.id for message in before}


async def test_a_bot_that_cannot_reach_discord_says_so(
    server: SandboxServer, local: LocalInstallation
) -> None:
    server.faults.fail_next(1, 503)
    with point_discord_at(server.base_url), pytest.raises(RequestError) as refused:
        async with running_bot(local, token=server.bot_token, engine="rehearsal"):
            pass

    assert refused.value.cause.startswith("Discord cannot be reached now (503")


async def test_a_server_that_has_the_commands_alone_is_told_how_to_add_the_bot(
    ada: Chat, server: SandboxServer, local: LocalInstallation, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    guild = next(one for one in server.world.guilds.values() if one["name"] == "Studio A")
    server.faults.remove_bot(guild["id"])

    refused = await ada.refused("train", model="wan21-t2v-1-3b", dataset="annika")
    shown = await ada.ask("dataset show", name="annika")
    added = await ada.ask("dataset add", name="berta", zip=archive)

    assert "the bot is not a member of it" in refused
    assert f"client_id={server.world.application_id}&scope=bot" in refused
    assert local.runs.names(guild["id"]) == []
    assert "annika@1" in shown.text
    assert "berta@1" in added.text


@pytest.fixture
def many_words(tmp_path: Path) -> Path:
    """A dataset whose captions take more than Discord takes in a file."""
    words, buffer = random.Random(7), io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "PNG")
    picture = buffer.getvalue()
    files: dict[str, bytes | str] = {}
    for number in range(190):
        caption = " ".join(f"{words.randrange(1000):09}" for _ in range(6000))
        files |= {f"{number:03}.png": picture, f"{number:03}.txt": caption}
    return write_zip(tmp_path / "wordy.zip", files)


async def test_captions_too_large_for_a_message_come_zipped_with_the_way_back(
    ada: Chat, local: LocalInstallation, many_words: Path
) -> None:
    added = await ada.ask("dataset add", name="annika", zip=many_words)
    assert "annika@1" in added.text, added.text

    answer = await ada.ask("dataset captions", name="annika")
    assert answer.attachments, answer.text
    (attached,) = answer.attachments
    content = await ada.user.download(attached)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        table = archive.read("annika-1-captions.csv")

    assert attached.filename == "annika-1-captions.zip"
    assert len(table) > 10 * MIB
    rows = csv.DictReader(io.StringIO(table.decode("utf-8-sig")))
    assert {row["file"]: row["caption"] for row in rows} == captions(local, "annika")
    assert "zipped and cannot be sent back in chat" in answer.text
    assert "lorabot captions" in answer.text
