"""What only a store in a folder does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.local.store import FolderStore


def test_only_the_owner_can_read_stored_files(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)

    store.write("guilds/1/a.json", b"{}")

    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("a.json")}
    assert modes == {0o600}


def test_a_file_is_read_no_newer_than_others_were_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    store.append("guilds/1/advance-1.jsonl", b"started\n")
    writes: Iterator[tuple[str, bytes]] = iter(
        [("train-1.jsonl", b"saved\n"), ("advance-1.jsonl", b"ended\n")]
    )
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        for name, line in writes:  # only before the first file is read
            store.append(f"guilds/1/{name}", line)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read)

    assert store.read_all("guilds/1") == {"advance-1.jsonl": b"started\n"}
    assert store.read_all("guilds/1") == {
        "advance-1.jsonl": b"started\nended\n",
        "train-1.jsonl": b"saved\n",
    }


def test_an_empty_folder_in_the_place_of_a_file_gives_way(tmp_path: Path) -> None:
    store, key = FolderStore(tmp_path), "guilds/1/a.jsonl"

    def in_the_way() -> None:
        store.delete(key)
        store.path(key).mkdir(parents=True)

    in_the_way()
    with pytest.raises(FileNotFoundError):
        store.read(key)
    store.write(key, b"written")
    found = [store.read(key)]
    in_the_way()
    store.append(key, b"appended\n")
    found.append(store.read(key))
    in_the_way()
    assert store.create(key, b"created")
    found.append(store.read(key))

    assert found == [b"written", b"appended\n", b"created"]


def test_a_folder_with_content_in_the_place_of_a_file_stays(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("guilds/1/a.json/mine.txt", b"mine")

    with pytest.raises(OSError, match="not empty"):
        store.write("guilds/1/a.json", b"{}")

    assert store.read("guilds/1/a.json/mine.txt") == b"mine"
