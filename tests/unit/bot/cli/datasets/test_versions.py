"""`lorabot add`, `captions` and `diff`."""

import csv
import shutil
from pathlib import Path

import pytest

from tests.damage import flip_a_bit
from tests.lorabot import Lorabot
from tests.media import png, write_zip


def test_an_edited_caption_table_becomes_a_version(
    here: Lorabot, tmp_path: Path, archive: Path
) -> None:
    table = tmp_path / "captions.csv"
    stored = here.run("add", archive, "--trigger", "ohwx", "--prefix").stdout
    here.run("captions", "annika", "--out", table)
    rows = list(csv.reader(table.read_text("utf-8-sig").splitlines()))
    rows[1][1] = "ohwx by the sea"
    rows = [[*row, note] for row, note in zip(rows, ["my notes", "nice", "", ""], strict=True)]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)

    edited = here.run("captions", "annika", "--file", table).stdout
    difference = here.json("diff", "annika@1", "annika@2")
    refusal = here.refused("add", archive, "--name", "annika", "--mode", "add")
    here.run("add", archive, "--name", "twice")
    again = here.run("add", archive, "--name", "twice").stdout
    unchanged = here.run("captions", "annika", "--file", table).stdout

    assert "annika@1" in stored
    assert "[warning] too-few-samples" in stored
    assert "Identical to twice@1" in again
    assert unchanged == "Identical to annika@2; nothing was stored.\n"
    assert all(row[1].startswith("ohwx") for row in rows[1:])
    assert "annika@2: annika@1 with 1 caption edited; other columns" in edited
    assert "were ignored: my notes" in edited
    assert "→ ohwx by the sea" in edited
    assert [c["after"] for c in difference["captions"]] == ["ohwx by the sea"]
    assert "Nothing was overwritten" in refusal


def test_a_damaged_dataset_is_listed_with_what_to_do(here: Lorabot, archive: Path) -> None:
    here.run("add", archive)
    here.run("add", archive, "--name", "berta")
    for record in here.home.glob("guilds/*/datasets/annika/1/manifest*.json"):
        flip_a_bit(record)

    listed = here.run("dataset", "list")

    assert "berta@1" in listed.stdout
    assert "The record of the dataset annika@1 is damaged." in listed.stderr
    assert "lorabot add" in listed.stderr
    assert [one["name"] for one in here.json("dataset", "list")] == ["berta"]


def test_a_new_version_keeps_the_trigger_word(here: Lorabot, tmp_path: Path, archive: Path) -> None:
    other = write_zip(tmp_path / "annika.zip", {"1.png": png(512, 480), "1.txt": "a woman"})
    here.run("add", archive, "--trigger", "ohwx")

    added = here.run("add", other).stdout
    prefixed = here.run("add", archive, "--prefix").stdout

    assert "annika@2: uploaded, trigger word ohwx kept" in added
    assert "[warning] trigger-missing" in added
    assert "annika@3: uploaded, trigger word ohwx kept" in prefixed
    assert "trigger-missing" not in prefixed


def test_a_zip_can_be_added_for_a_chat_server(here: Lorabot, archive: Path) -> None:
    added = here.run("add", archive, "--server", "42").stdout

    assert "annika@1" in added
    (there,) = here.json("dataset", "list", "--server", "42")
    assert (there["name"], there["owner"]) == ("annika", "operator")
    assert here.json("dataset", "list") == []
    assert "not the id of a chat server" in here.refused("add", archive, "--server", "studio")


def test_missing_captions_can_be_written_left_out_or_replaced_by_the_trigger(
    here: Lorabot, tmp_path: Path
) -> None:
    files: dict[str, bytes | str] = {f"{n}.png": png(512, 480, seed=n) for n in range(3)}
    path = write_zip(tmp_path / "annika.zip", {**files, "0.txt": "ann1ka sits", "1.txt": "None"})
    table = tmp_path / "captions.csv"

    refusal = here.run("check", path, "--table", table).stderr
    rows = list(csv.reader(table.read_text("utf-8-sig").splitlines()))
    added = here.refused("add", path)
    rows[2][1], rows[3][1] = "ann1ka stands", "ann1ka runs"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    written = here.run("add", path, "--name", "written", "--captions", table).stdout
    left = here.run("add", path, "--name", "left", "--leave-out").stdout
    waived = here.run("add", path, "--name", "waived", "--trigger-only", "--trigger", "ann1ka")

    for text in (refusal, added):
        assert "lorabot check ZIP --table captions.csv" in text
        assert "--leave-out" in text
    assert "written@1" in written
    assert "left@1: uploaded, 2 samples left out" in left
    assert "[info] left-out" in left
    assert "waived@1: uploaded, 2 samples captioned with the trigger word" in waived.stdout
    assert "There is no trigger word" in here.refused("add", path, "--trigger-only")


def test_files_that_cannot_be_used_are_left_out_on_request(here: Lorabot, tmp_path: Path) -> None:
    good: dict[str, bytes | str] = {f"{n}.png": png(512, 480, seed=n) for n in range(3)}
    bad: dict[str, bytes | str] = {
        "3.png": png()[:900],
        "4.mp4": b"",
        "5.heic": b"x",
        "6.zip": b"x",
    }
    texts = {f"{n}.txt": "ann1ka" for n in (0, 1, 3, 5)}
    path = write_zip(tmp_path / "annika.zip", {**good, **bad, **texts})

    told = here.run("check", path).stderr, here.refused("add", path)
    left = here.run("add", path, "--name", "left", "--leave-out").stdout
    named = here.run("add", path, "--name", "named", "--leave-out", "--trigger-only",
                     "--trigger", "ann1ka").stdout  # fmt: skip

    for text in told:
        assert "Or leave these files out, with the samples that lack a caption." in text
        assert "lorabot add ZIP --leave-out" in text
    assert "left@1: uploaded, 4 files left out, 1 sample left out" in left
    assert "[info] left-out" in left
    assert "named@1: uploaded, 1 sample captioned with the trigger word, 4 files left out" in named
    assert [version["images"] for version in here.json("dataset", "list")] == [2, 3]
    hopeless = write_zip(tmp_path / "hopeless.zip", bad)
    assert "--leave-out" not in here.refused("add", hopeless)
    assert "None of the files" in here.refused("add", hopeless, "--leave-out")


@pytest.mark.parametrize("mode", ["new", "add"])
@pytest.mark.parametrize("name", ["../annika", "", "my set", "con"])
def test_a_name_that_no_dataset_can_have_is_refused(
    name: str, mode: str, here: Lorabot, archive: Path
) -> None:
    refusal = here.refused("add", archive, "--name", name, "--mode", mode)

    assert "dataset" in refusal
    assert not (here.home / "guilds").exists()


def test_a_layout_is_either_read_or_ignored(here: Lorabot, archive: Path) -> None:
    refusal = here.refused("add", archive, "--read-layout", "--ignore-layout")

    assert "cannot be combined" in refusal


def test_the_layout_of_another_tool_is_reported_and_read_on_request(
    here: Lorabot, tmp_path: Path
) -> None:
    rows = [f'{{"file_name": "{index}.png", "text": "ann1ka {index}"}}' for index in range(5)]
    pictures = {f"{index}.png": png(seed=index) for index in range(5)}
    path = write_zip(tmp_path / "set.zip", {**pictures, "metadata.jsonl": "\n".join(rows)})

    refusals = here.run("check", path).stderr, here.refused("add", path)
    report = here.json("check", path, "--read-layout")
    stored = here.run("add", path, "--read-layout").stdout

    plan = here.run("plan", "--model", "wan21-t2v-1-3b", "--dataset", path, "--read-layout").stdout
    kohya = {f"{20 if index < 3 else 1}_ann1ka/{name}": picture
             for index, (name, picture) in enumerate(pictures.items())}  # fmt: skip
    captions = {f"{Path(name).with_suffix('.txt')}": "ann1ka" for name in kohya}
    folders = write_zip(tmp_path / "kohya.zip", {**kohya, **captions})
    asked = ("plan", "--model", "wan21-t2v-1-3b", "--dataset", folders)
    hinted, repeated = here.run(*asked).stdout, here.run(*asked, "--read-layout").stdout

    refusal = here.refused("add", folders, "--name", "set", "--mode", "replace")
    joined = here.run("add", folders, "--name", "set", "--mode", "replace", "--ignore-layout")

    assert "loses this layout" in refusal
    assert "set@2" in joined.stdout
    assert "50 epochs of 5 steps" in plan
    assert "can be read as kohya folders: add --read-layout" in hinted
    assert "50 epochs of 5 steps" in hinted
    assert "50 epochs of 62 steps" in repeated
    assert all("--read-layout" in refusal for refusal in refusals)
    assert report["layout"] == {"names": ["captions in metadata.jsonl"], "is_read": True}
    assert [sample["caption"] for sample in report["samples"]] == [f"ann1ka {i}" for i in range(5)]
    assert "Read as captions in metadata.jsonl" in stored


def test_a_zip_with_a_name_in_any_script_is_taken_by_every_command(
    archive: Path, here: Lorabot, tmp_path: Path
) -> None:
    named = shutil.copy(archive, tmp_path / "アニカ.zip")
    train = ("--model", "wan21-t2v-1-3b", "--dataset", named)

    checked = here.json("check", named)
    planned = here.json("plan", *train)
    added = here.run("add", named)

    assert checked["samples"]
    assert planned["dataset"] == "anika@1"
    assert planned["name"].startswith("anika-")
    assert added.stdout.startswith("anika@1: uploaded")
    assert here.json("plan", *train)["dataset"] == "anika@1"
