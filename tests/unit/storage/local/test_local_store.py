"""What the folder of a store keeps from other users of the machine."""

from pathlib import Path

from storage.local.store import FolderStore


def test_only_the_owner_reads_what_is_stored(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)

    store.write("guilds/1/a.json", b"{}")

    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("a.json")}
    assert modes == {0o600}
