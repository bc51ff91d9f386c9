"""Datasets through chat: shown, checked, chosen, extended, compared and removed."""

import asyncio
import io
from collections.abc import Mapping
from pathlib import Path

import discord
import pytest
from PIL import Image

from bot.discord.buttons.datasets import DatasetButton
from bot.hosting.bot import RunningBot, running_bot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import SandboxUser
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from tests.media import mp4, png, write_zip
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import captions, press, versions
from training import store_keys

FILES: Mapping[str, bytes | str] = {
    "images/000.png": png(),
    "images/000.txt": "ann1ka at a window",
    "videos/001.mp4": mp4(72, fps=24, seed=5),
    "videos/001.txt": "a walk past the camera",
}
MORE: Mapping[str, bytes | str] = {
    "more/images/001.png": png(seed=9),
    "more/images/001.txt": "ann1ka on a bridge",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "annika.zip", FILES)


async def test_an_added_set_is_shown_with_its_pictures_and_what_can_be_done(
    ada: Chat, ben: Chat, archive: Path, local: LocalInstallation
) -> None:
    added = await ada.ask("dataset add", name="annika", zip=archive, trigger="ann1ka")
    shown = await ben.ask("dataset show", name="annika")

    for message in (added, shown):
        (report,) = message.attachments
        sheet = await ada.user.download(str(message.embeds[0]["image"]["url"]))
        assert Image.open(io.BytesIO(sheet)).format == "JPEG"
        assert len(sheet) < 1_000_000
        assert "[warning] trigger-missing" in (await ada.user.download(report)).decode()
        assert list(message.buttons) == [
            "Train",
            "Prefix the trigger word",
            "Keep original",
            "Captions",
            "Remove",
        ]
    assert not added.ephemeral
    assert shown.ephemeral
    assert versions(local)[0].trigger == "ann1ka"


async def test_a_new_version_keeps_the_trigger_word_and_its_card_says_so(
    ada: Chat, tmp_path: Path, archive: Path
) -> None:
    other = write_zip(tmp_path / "other.zip", FILES)
    await ada.ask("dataset add", name="annika", zip=archive, trigger="ann1ka")

    again = await ada.ask("dataset add", name="annika", zip=other, prefix=True)

    assert "Version 2 of **annika**, uploaded, trigger word ann1ka kept." in again.text
    assert "Trigger word: **ann1ka**." in again.text
    assert "Prefix the trigger word" not in again.buttons


async def test_a_checked_zip_is_stored_by_its_button_even_after_a_restart(
    server: SandboxServer, local: LocalInstallation, tmp_path: Path
) -> None:
    named = write_zip(tmp_path / "アニカ.zip", FILES)
    with point_discord_at(server.base_url):
        async with asyncio.timeout(100), SandboxUser(server.page_url, user="Ada") as user:
            ada = Chat(user)
            async with running_bot(local, token=server.bot_token, engine="rehearsal"):
                checked = await ada.ask("dataset check", zip=named, trigger="ann1ka")
            assert "nothing was stored" in checked.text
            assert "anika: checked" in checked.text
            assert versions(local, "anika") == []
            async with running_bot(local, token=server.bot_token, engine="rehearsal"):
                stored = await press(ada, checked, "Use with the trigger word prefixed")
                again = await press(ada, checked, "Use with the trigger word prefixed")
                plain = await press(ada, checked, "Use as repaired")

    assert "anika@1" in stored.text
    assert "Already stored as **anika@1**" in again.text
    assert "anika@2" in plain.text
    assert captions(local, "anika@1")["videos/001.mp4"] == "ann1ka, a walk past the camera"
    assert captions(local, "anika@2")["videos/001.mp4"] == "a walk past the camera"


async def test_a_checked_zip_can_be_stored_as_uploaded(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    checked = await ada.ask("dataset check", name="annika", zip=archive)
    stored = await press(ada, checked, "Keep original")
    listed = await ada.ask("dataset list")

    assert "annika@1" in stored.text
    assert [version.media for version in versions(local)] == ["original"]
    assert "annika" in listed.text
    assert listed.ephemeral


async def test_an_expired_checked_upload_is_reported(
    ada: Chat, local: LocalInstallation, archive: Path
) -> None:
    checked = await ada.ask("dataset check", zip=archive)
    for guild in local.guilds():
        local.runtime.store.delete(store_keys.checked(guild))

    answer = await press(ada, checked, "Use as repaired")

    assert "has expired" in answer.text
    assert versions(local) == []


async def test_media_are_kept_as_uploaded_only_if_they_can_be_trained_on(
    ada: Chat, archive: Path, local: LocalInstallation, tmp_path: Path
) -> None:
    turned = write_zip(tmp_path / "slow.zip", {**FILES, "videos/001.mp4": mp4(40, fps=8)})
    added = await ada.ask("dataset add", name="annika", zip=archive)

    kept = await press(ada, added, "Keep original")
    slow = await ada.ask("dataset add", name="slow", zip=turned)

    assert "train on the images and clips as uploaded" in kept.text
    assert [version.media for version in versions(local)] == ["repaired", "original"]
    assert len({version.version for version in versions(local)}) == 2
    assert "Keep original" not in slow.buttons
    back = await press(ada, kept, "Use as repaired")
    assert "Same content as **annika@1**" in back.text


async def test_a_removal_first_asks_only_the_person_who_pressed(
    ada: Chat, ben: Chat, archive: Path, local: LocalInstallation
) -> None:
    added = await ada.ask("dataset add", name="annika", zip=archive)

    question = await press(ada, added, "Remove")
    assert question.ephemeral
    assert len(versions(local)) == 1
    done = await press(ada, question, "Remove it")

    assert "Removed annika@1" in done.text
    assert "/dataset restore name:annika@1" in done.text
    assert not done.ephemeral
    assert versions(local) == []
    assert question.id not in [message.id for message in await ben.user.messages()]
    assert "annika@1 was removed on" in (await press(ada, added, "Captions")).text
    assert "annika@1 is back." in (await press(ada, done, "Undo")).text
    assert [version.number for version in versions(local)] == [1]


async def test_removing_a_whole_set_first_names_what_would_be_deleted(
    ada: Chat, ben: Chat, archive: Path, local: LocalInstallation, tmp_path: Path
) -> None:
    more = write_zip(tmp_path / "more.zip", MORE)
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("dataset add", name="annika", zip=more, mode="add")

    early = await ada.ask("dataset remove", name="annika")
    one = await ada.ask("dataset remove", name="annika@1")
    await ada.ask("dataset captions", name="annika", prefix=True, trigger="ohwx")
    late = await press(ada, early, "Remove every version")
    kept = versions(local)
    again = await ada.ask("dataset remove", name="annika")
    done = await press(ada, again, "Remove every version")

    assert early.ephemeral
    assert "Remove all of annika, 2 versions?" in early.text
    assert "annika@1**: 1 image and 1 clip, uploaded" in early.text
    assert "annika@2**: 2 images and 1 clip" in early.text
    assert "Runs trained on it\nnone" in early.text
    assert list(early.buttons) == ["Remove every version"]
    assert "Remove annika@1?" in one.text
    assert "Stays\nannika@2." in one.text
    assert list(one.buttons) == ["Remove it"]
    assert "its newest version is now annika@3" in late.text
    assert len(kept) == 3
    assert "Removed annika, 3 versions" in done.text
    assert not done.ephemeral
    assert versions(local) == []


async def test_a_button_of_another_servers_dataset_is_refused(
    ada: Chat, cleo_elsewhere: Chat, bot: RunningBot, local: LocalInstallation, archive: Path
) -> None:
    added = await ada.ask("dataset add", name="annika", zip=archive)
    await cleo_elsewhere.ask("dataset add", name="annika", zip=archive)
    stolen = str(added.buttons["Keep original"]["custom_id"]).split(":")
    posted = await cleo_elsewhere.user.post("here")
    channel = bot.client.get_channel(int(posted.channel_id))
    assert isinstance(channel, discord.TextChannel)
    view = discord.ui.View(timeout=None)
    view.add_item(DatasetButton("original", stolen[2], stolen[3]))
    sent = await channel.send("forged", view=view)
    message = await cleo_elsewhere.user.wait_for(lambda m: m.id == str(sent.id))

    answer = await press(cleo_elsewhere, message, "Keep original")

    assert "another server" in answer.text
    assert [version.number for version in versions(local)] == [1, 1]


async def test_files_are_added_to_a_stored_set(
    ada: Chat, archive: Path, local: LocalInstallation, tmp_path: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive, trigger="ann1ka", prefix=True)
    more = write_zip(tmp_path / "more.zip", MORE)
    other = {"images/000.png": png(seed=3), "images/000.txt": "ann1ka, another window"}
    clashing = write_zip(tmp_path / "clash.zip", other)

    extended = await ada.ask("dataset add", name="annika", zip=more, mode="add")
    refused = await ada.refused("dataset add", name="annika", zip=clashing, mode="add")
    replaced = await ada.ask("dataset add", name="annika", zip=clashing, mode="replace")
    difference = await ada.ask("dataset diff", old="annika@1", new="annika@3")
    nobody = await ada.refused("dataset add", name="berta", zip=more, mode="add")

    assert "annika@2" in extended.text
    assert "annika@1 with 1 sample added" in extended.text
    assert captions(local, "annika@2")["videos/001.mp4"] == "ann1ka, a walk past the camera"
    assert "images/000.png is already in the dataset with different content" in refused
    assert "annika@2 with 0 samples added and 1 replaced" in replaced.text
    assert "Added: 1\n- images/001.png" in difference.text
    assert "ann1ka at a window → ann1ka, another window" in difference.text
    assert "no dataset called 'berta'" in nobody


async def test_one_zip_added_twice_at_once_is_one_version(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    await asyncio.gather(
        ada.ask("dataset add", name="annika", zip=archive),
        ada.ask("dataset add", name="annika", zip=archive),
    )
    third = await ada.ask("dataset add", name="annika", zip=archive)

    assert [version.number for version in versions(local)] == [1]
    assert "Already stored as **annika@1**" in third.text


async def test_a_refusal_says_how_to_continue(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "annika.zip", {"videos/001.mp4": b"no clip"})

    for command in ("dataset add", "dataset check"):
        text = await ada.refused(command, name="annika", zip=path)

        assert "videos/001.mp4 cannot be decoded" in text
        assert "`/dataset check` only checks it" in text
    assert versions(local) == []
    assert not list(local.home.rglob("original.zip"))
    assert "nothing to check" in await ada.refused("dataset check")
    wanting = {"name": "annika", "zip": path, "prefix": True}
    assert "There is no trigger word." in await ada.refused("dataset add", **wanting)


async def test_a_stored_set_is_checked_again_with_a_trigger(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)

    checked = await ada.ask("dataset check", name="annika", trigger="ann1ka")

    assert "Checked **annika@1** again" in checked.text
    assert "does not have the trigger word" in checked.text
    assert len(versions(local)) == 1


async def test_a_long_check_shows_progress_and_outlives_the_interaction(
    server: SandboxServer,
    local: LocalInstallation,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = write_zip(tmp_path / "broken.zip", {"videos/001.mp4": b"no clip"})
    with point_discord_at(server.base_url):
        async with (
            asyncio.timeout(100),
            SandboxUser(server.page_url, user="Ada") as ada,
            running_bot(local, token=server.bot_token, engine="rehearsal", progress_seconds=0.001),
        ):
            begun = await ada.command("dataset add", {"name": "annika", "zip": archive})
            progress = await ada.reply(begun, timeout=120)
            done = await ada.wait_for(lambda m: m.id == progress.id and bool(m.embeds), timeout=120)
            await ada.command("dataset add", {"name": "annika", "zip": broken})
            await ada.wait_for(lambda m: "What to do" in m.text, timeout=120)
            left = [message.text for message in await ada.messages()]
            monkeypatch.setattr("bot.discord.answers.answers.TOKEN_MINUTES", 0.0)
            await ada.command("dataset check", {"zip": archive})
            late = await ada.wait_for(lambda m: "annika: checked" in m.text, timeout=120)

    assert not [text for text in left if "Looking" in text]
    assert "Checking files" in progress.text
    assert "of 2 files" in progress.text
    assert "annika@1" in done.text
    assert "Looking" not in done.text
    assert late.interaction_id is None
    assert next(iter(late.buttons)) == "Use as repaired"
