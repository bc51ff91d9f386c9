"""Captions through chat: download the table, upload it edited, prefix the trigger word."""

import csv
import io
from pathlib import Path

from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message
from tests.media import guide_files, write_zip
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import captions, press, versions


async def table(chat: Chat, message: Message) -> list[list[str]]:
    (attached,) = message.attachments
    assert attached.filename.endswith("-captions.csv")
    content = await chat.user.download(attached)
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


async def test_an_edited_table_makes_a_version_and_says_what_changed(
    ada: Chat, local: LocalInstallation, archive: Path, tmp_path: Path
) -> None:
    added = await ada.ask("dataset add", name="annika", zip=archive)
    rows = await table(ada, await press(ada, added, "Captions"))
    assert rows == await table(ada, await ada.ask("dataset captions", name="annika"))
    rows[1][1] = "=ann1ka; by the sea"
    edited = tmp_path / "annika.csv"
    with edited.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(rows)

    stored = await ada.ask("dataset captions", name="annika", file=edited)
    told = await ada.user.wait_for(lambda m: "From annika@1 to annika@2" in m.text)
    rows = await table(ada, await ada.ask("dataset captions", name="annika"))
    unchanged = await ada.ask("dataset captions", name="annika", file=edited)

    assert "annika@1 with 1 caption edited" in stored.text
    assert "portrait number 0, soft window light → =ann1ka; by the sea" in told.text
    assert captions(local, "annika@1")["images/000.png"].startswith("ann1ka, portrait")
    assert captions(local, "annika@2")["images/000.png"] == "=ann1ka; by the sea"
    assert rows[1] == ["images/000.png", "'=ann1ka; by the sea"]
    assert "Already stored as **annika@2**" in unchanged.text


async def test_a_table_that_does_not_fit_changes_nothing(
    ada: Chat, local: LocalInstallation, archive: Path, tmp_path: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    wrong, workbook = tmp_path / "wrong.csv", tmp_path / "captions.xlsx"
    wrong.write_text("file,caption\nimages/000.png,\nimages/999.png,x\n")
    workbook.write_bytes(b"PK\x03\x04")

    text = await ada.refused("dataset captions", name="annika", file=wrong)
    excel = await ada.refused("dataset captions", name="annika", file=workbook)

    assert "Row 2: images/000.png has no caption." in text
    assert "Row 3: images/999.png is not a file of this dataset." in text
    assert "There is no row for videos/001.mp4." in text
    assert "CSV UTF-8" in excel
    assert len(versions(local)) == 1


async def test_the_trigger_word_is_prefixed_on_request(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    files = guide_files(images=1, clips=1, frames=49)
    archive = write_zip(tmp_path / "アニカ.zip", {**files, "images/000.txt": "a portrait"})
    added = await ada.ask("dataset add", name="annika", zip=archive)
    assert "no trigger word" in await ada.refused("dataset captions", name="annika", prefix=True)
    assert "trigger word" not in added.text

    named = await ada.ask("dataset captions", name="annika", prefix=True, trigger="ann1ka")

    assert "Trigger word: **ann1ka**" in named.text
    assert captions(local, "annika@2")["images/000.png"] == "ann1ka, a portrait"
    assert "Prefix the trigger word" not in named.buttons


async def test_a_new_trigger_word_replaces_the_old_one_when_asked(
    ada: Chat, local: LocalInstallation, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    words = {"name": "annika", "trigger": "ohwx"}

    told = await ada.refused("dataset captions", **words, replaces="anika")
    replaced = await ada.ask("dataset captions", **words, replaces="ann1ka")

    assert "No caption contains the word 'anika'." in told
    assert "Trigger word: **ohwx**" in replaced.text
    assert all("ohwx" in text for text in captions(local, "annika@2").values())
    assert not any("ann1ka" in text for text in captions(local, "annika@2").values())


async def test_the_button_prefixes_what_the_finding_names(
    ada: Chat, local: LocalInstallation, archive: Path
) -> None:
    added = await ada.ask("dataset add", name="annika", zip=archive, trigger="ohwx")
    assert "do not have the trigger word" in added.text

    prefixed = await press(ada, added, "Prefix the trigger word")

    assert "annika@2" in prefixed.text
    assert "do not have the trigger word" not in prefixed.text
    assert all(text.startswith("ohwx, ") for text in captions(local, "annika@2").values())
