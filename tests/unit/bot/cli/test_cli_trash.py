"""`lorabot dataset|checkpoint|run remove` and `restore`, and `lorabot trash`."""

from pathlib import Path

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from tests.adapters import tensors, widths, write_adapter
from tests.lorabot import Lorabot
from training.operations.run_drafts import Requester
from training.registry.dataset_draft import Upload
from training.runs.spec import TrainRequest

MODEL = "wan21-t2v-1-3b"
SERVER = "77"


class IdleHome(LocalInstallation):
    """A home whose runs wait."""

    def ensure_worker(self) -> None:
        pass


def test_a_dataset_and_its_versions_are_removed_and_restored(here: Lorabot, archive: Path) -> None:
    here.run("add", archive, "--name", "annika")
    here.run("captions", "annika", "--prefix", "--trigger", "ohwx")

    one = here.run("dataset", "remove", "annika@1").stdout
    rest = here.run("dataset", "remove", "annika").stdout
    listed = here.run("trash").stdout
    removals = here.json("trash")
    gone = here.json("dataset", "list")
    refusal = here.refused("captions", "annika")
    back = [here.run("dataset", "restore", name).stdout for name in ("annika@2", "annika")]

    assert "Removed annika@1.\nIt can be restored until" in one
    assert f"lorabot dataset restore annika@1 --home {here.home}" in one
    assert "Removed annika@2." in rest
    assert "annika@1" in listed
    assert "--empty deletes it now" in listed
    assert [r["items"] for r in removals["removals"]] == [["annika@2"], ["annika@1"]]
    assert removals["size_bytes"] > 0
    assert gone == []
    assert "annika was removed on" in refusal
    assert "lorabot dataset restore annika" in refusal
    assert back == ["annika@2 is back.\n", "annika@1 is back.\n"]
    assert [version["number"] for version in here.json("dataset", "list")] == [2]
    assert here.json("trash") == {"removals": [], "size_bytes": 0}


def test_emptying_the_trash_deletes_it_at_once(here: Lorabot, archive: Path) -> None:
    here.run("add", archive, "--name", "annika")
    key = "dataset:annika@1"
    listed, known = here.run("storage").stdout, here.json("storage")["items"]
    refusal = here.refused("storage", "--remove", key)
    removed = here.run("storage", "--remove", key, "--yes").stdout

    assert "dataset, all versions" in listed
    assert [item["key"] for item in known] == [key]
    assert known[0]["size_bytes"] > 0
    assert "Nothing was removed yet. This frees" in refusal
    assert "Removed annika@1." in removed
    assert here.json("storage")["items"] == []
    assert "lorabot trash --empty" in here.run("storage").stdout

    emptied = here.run("trash", "--empty").stdout

    assert emptied.startswith("Deleted ")
    assert "No dataset called 'annika' was removed" in here.refused("dataset", "restore", "annika")
    assert here.run("trash").stdout == "Nothing was removed in the last 7 days.\n"


def test_the_command_line_owns_what_servers_have(
    here: Lorabot, archive: Path, tmp_path: Path
) -> None:
    local = IdleHome(Settings(home=here.home))
    local.datasets.add(SERVER, "annika", Upload(archive=archive, by="7", file_name="a.zip"))
    file = write_adapter(tmp_path / "old.safetensors", tensors(widths(MODEL)))
    local.loras.add(SERVER, file, model=MODEL, by="7")
    request = TrainRequest(model=MODEL, dataset="annika", name="mine")
    local.runs.start(request, Requester(guild=SERVER, by="7"), "rehearsal")
    local.runs.cancel(SERVER, "mine", by="7")
    things = (("run", "mine"), ("checkpoint", "old"), ("dataset", "annika"))

    removed = [here.run(what, "remove", n, "--server", SERVER).stdout for what, n in things]
    gone = local.runs.names(SERVER), local.loras.names(SERVER), local.datasets.names(SERVER)
    elsewhere = [here.refused(what, "restore", name) for what, name in things]
    back = [here.run(what, "restore", n, "--server", SERVER).stdout for what, n in things]

    assert all(f"--home {here.home} --server {SERVER}" in text for text in removed)
    assert "0 checkpoints and everything else it saved" in removed[0]
    assert gone == ([], [], [])
    assert all("was removed here in the last 7 days" in text for text in elsewhere)
    assert back == ["mine is back.\n", "old is back.\n", "annika@1 is back.\n"]
    assert local.runs.names(SERVER) == ["mine"]
    assert local.loras.names(SERVER) == ["old"]
    assert local.datasets.names(SERVER) == ["annika"]
