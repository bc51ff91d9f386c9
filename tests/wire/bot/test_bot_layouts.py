"""Zips of other tools through chat: the layout is reported, and used after a press."""

from pathlib import Path

from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message, Option
from tests.media import png, write_zip
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import captions, press, versions

PICTURES: dict[str, bytes | str] = {f"{index}.png": png(seed=index) for index in range(2)}
LISTED: dict[str, bytes | str] = {
    **PICTURES,
    "metadata.jsonl": '{"file_name": "0.png", "text": "ann1ka sits"}\n'
    '{"file_name": "1.png", "text": "ann1ka walks"}\n',
}
KOHYA: dict[str, bytes | str] = {
    **{f"img/20_ann1ka woman/{name}": content for name, content in PICTURES.items()},
    **{f"img/20_ann1ka woman/{index}.txt": f"ann1ka {index}" for index in range(2)},
    "reg/1_woman/9.png": png(seed=9),
    "reg/1_woman/9.txt": "a woman",
}


async def ask(chat: Chat, words: str, command: str, **options: Option) -> Message:
    """Type a command and wait past its progress for the answer with these words."""
    await chat.ask(command, **options)
    return await chat.user.wait_for(lambda message: words in message.text, timeout=120)


async def test_a_zip_with_captions_in_a_table_is_kept_and_read_at_a_press(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    archive = write_zip(tmp_path / "annika.zip", LISTED)

    added = await ask(ada, "captions in metadata.jsonl", "dataset add", name="annika", zip=archive)
    stored_before = versions(local)
    found = await press(ada, added, "Use this layout")
    stored = await press(ada, found, "Use as repaired")

    assert stored_before == []
    assert list(added.buttons) == ["Use this layout"]
    assert "captions in metadata.jsonl" in added.text
    assert "Read as captions in metadata.jsonl" in found.text
    assert list(found.buttons) == ["Use as repaired"]
    assert "annika@1" in stored.text
    assert captions(local, "annika@1") == {
        "images/0.png": "ann1ka sits",
        "images/1.png": "ann1ka walks",
    }


async def test_stored_kohya_folders_become_a_version_with_repeats_at_a_press(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    archive = write_zip(tmp_path / "annika.zip", KOHYA)
    more = write_zip(tmp_path / "more.zip", {"b.png": png(seed=3), "b.txt": "ann1ka runs"})

    added = await ask(ada, "read as kohya folders", "dataset add", name="annika", zip=archive)
    unread = await ask(ada, "Checked **annika@1** again", "dataset check", name="annika")
    read = await press(ada, unread, "Use this layout")
    again = await ask(ada, "Checked **annika@2** again", "dataset check", name="annika")
    extended = await ask(ada, "1 sample added", "dataset add", name="annika", zip=more, mode="add")

    assert "can be read as kohya folders" in added.text
    assert "annika@1 read as kohya folders" in read.text
    assert "2 items in total, 40 steps per epoch" in read.text
    assert "Use this layout" not in read.buttons
    assert "Read as kohya folders" in again.text
    assert "3 items in total, 41 steps per epoch" in extended.text
    assert [len(captions(local, f"annika@{number}")) for number in (1, 2, 3)] == [3, 2, 3]


async def test_an_addition_in_another_layout_joins_once_it_is_read(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    kohya, listed = write_zip(tmp_path / "a.zip", KOHYA), write_zip(tmp_path / "b.zip", LISTED)
    await ask(ada, "annika@1", "dataset add", name="annika", zip=kohya)

    kept = await ask(
        ada,
        "captions in metadata.jsonl",
        "dataset add",
        name="annika",
        zip=listed,
        mode="replace",
    )

    assert len(versions(local)) == 1

    read = await press(ada, kept, "Use this layout")
    stored = await press(ada, read, "Use as repaired")

    assert "annika@1 with" in stored.text
    assert len(versions(local)) == 2


async def test_kohya_folders_are_not_joined_before_the_user_has_chosen(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    plain = {"b.png": png(seed=3), "b.txt": "ann1ka runs"}
    first = write_zip(tmp_path / "a.zip", plain)
    kohya = write_zip(tmp_path / "b.zip", KOHYA)
    await ask(ada, "annika@1", "dataset add", name="annika", zip=first)

    kept = await ask(ada, "kohya folders", "dataset add", name="annika", zip=kohya, mode="add")

    assert len(versions(local)) == 1
    assert list(kept.buttons) == ["Use this layout", "Use as repaired"]

    read = await press(ada, kept, "Use this layout")
    stored = await press(ada, read, "Use as repaired")

    assert "3 items in total, 41 steps per epoch" in stored.text
    assert captions(local, "annika@2") == {
        "images-20-repeats/0.png": "ann1ka 0",
        "images-20-repeats/1.png": "ann1ka 1",
        "images/b.png": "ann1ka runs",
    }
