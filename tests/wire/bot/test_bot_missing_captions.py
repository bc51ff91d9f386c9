"""An upload without all captions: kept, shown, and settled in one of three ways."""

import csv
import io
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message
from tests.media import mp4, png, write_zip
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import captions, press, versions

FILES: dict[str, bytes | str] = {
    "images/000.png": png(),
    "images/000.txt": "ann1ka at a window",
    "images/001.png": png(seed=1),
    "images/001.txt": "I'm sorry, but I can't assist with that request.",
    "images/002.png": png(seed=2),
    "videos/003.mp4": mp4(49, seed=5),
    "videos/003.txt": "ann1ka walks past the camera",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "annika.zip", FILES)


async def rows_of(chat: Chat, message: Message) -> list[list[str]]:
    (attached,) = message.attachments
    content = await chat.user.download(attached)
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


def saved(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.mark.parametrize("command", ["dataset add", "dataset check"])
async def test_an_upload_without_captions_is_kept_with_its_table_and_actions(
    command: str, ada: Chat, archive: Path, local: LocalInstallation, tmp_path: Path
) -> None:
    kept = await ada.ask(command, name="annika", zip=archive)
    rows = await rows_of(ada, await press(ada, kept, "Captions"))

    assert "annika: 2 captions to write" in kept.text
    assert "2 of 4 samples have no usable caption" in kept.text
    assert "kept for 24 hours" in kept.text
    assert "images/001.png has a captioning program's error or refusal" in kept.text
    assert "images/002.png has no caption" in kept.text
    assert list(kept.buttons) == ["Captions", "Leave these out", "Trigger word only"]
    assert "/contact-sheet.jpg" in str(kept.embeds[0]["image"]["url"])
    assert rows[3] == ["images/002.png", ""]
    assert versions(local) == []

    rows[2][1] = "ann1ka on a bridge"
    half = await ada.ask("dataset captions", name="annika", file=saved(tmp_path / "half.csv", rows))
    rows[3][1] = "ann1ka by the sea"
    done = await ada.ask("dataset captions", name="annika", file=saved(tmp_path / "all.csv", rows))

    assert "annika: 1 caption to write" in half.text
    assert "annika@1" in done.text
    assert captions(local, "annika@1") == {
        "images/000.png": "ann1ka at a window",
        "images/001.png": "ann1ka on a bridge",
        "images/002.png": "ann1ka by the sea",
        "videos/003.mp4": "ann1ka walks past the camera",
    }


async def test_good_samples_are_stored_without_those_that_have_no_caption(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    kept = await ada.ask("dataset add", name="annika", zip=archive)

    stored = await press(ada, kept, "Leave these out")
    again = await press(ada, kept, "Leave these out")
    checked = await ada.ask("dataset check", name="annika")

    assert "uploaded, 2 samples left out" in stored.text
    assert list(captions(local, "annika@1")) == ["images/000.png", "videos/003.mp4"]
    assert "Already stored as **annika@1**" in again.text
    assert "Checked **annika@1** again" in checked.text
    assert "has no caption" not in checked.text


async def test_the_trigger_word_alone_is_used_once_its_effect_is_accepted(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    kept = await ada.ask("dataset add", name="annika", zip=archive)

    without = await press(ada, kept, "Trigger word only")
    named = await ada.ask("dataset captions", name="annika", trigger="ann1ka")
    question = await press(ada, named, "Trigger word only")
    assert versions(local) == []
    stored = await press(ada, question, "Yes, the trigger word only")

    assert "There is no trigger word yet" in without.text
    assert not without.buttons
    assert "All 2 missing captions will be **ann1ka**" in question.text
    assert "cannot tell the subject from the rest" in question.text
    assert question.ephemeral
    assert "2 samples captioned with the trigger word" in stored.text
    assert captions(local, "annika@1")["images/001.png"] == "ann1ka"
    assert captions(local, "annika@1")["images/002.png"] == "ann1ka"


async def test_files_without_captions_join_a_stored_set_when_they_have_them(
    ada: Chat, archive: Path, local: LocalInstallation, tmp_path: Path
) -> None:
    first = write_zip(tmp_path / "first.zip", {"a.png": png(seed=8), "a.txt": "ann1ka, portrait"})
    await ada.ask("dataset add", name="annika", zip=first)

    kept = await ada.ask("dataset add", name="annika", zip=archive, mode="add")
    stored = await press(ada, kept, "Leave these out")

    assert "annika: 2 captions to write" in kept.text
    assert "annika@1 with 2 samples added" in stored.text
    assert list(captions(local, "annika@2")) == [
        "images/000.png",
        "images/a.png",
        "videos/003.mp4",
    ]


async def test_an_upload_without_any_caption_cannot_leave_samples_out(
    ada: Chat, tmp_path: Path
) -> None:
    bare = {name: data for name, data in FILES.items() if not name.endswith(".txt")}

    kept = await ada.ask("dataset add", name="annika", zip=write_zip(tmp_path / "a.zip", bare))

    assert list(kept.buttons) == ["Captions", "Trigger word only"]
