"""Datasets on the command line: checked, repaired, stored, recaptioned, compared."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bot.__main__ import main
from tests.media import guide_files, mp4, png, write_zip

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run command lines in this process, and return exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([*map(str, arguments), "--home", str(tmp_path / "home")])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_check_writes_the_repaired_set_and_its_contact_sheet(run: Run, tmp_path: Path) -> None:
    files = {**guide_files(images=1, clips=0), "videos/1.mp4": mp4(60, fps=24), "videos/1.txt": "x"}
    path, target, sheet = write_zip(tmp_path / "a.zip", files), tmp_path / "set", tmp_path / "s.jpg"
    options = ("--repair", target, "--sheet", sheet, "--trigger", "ann1ka")

    code, stdout, _ = run("check", path, *options, "--json")
    again, _, refusal = run("check", path, "--repair", target)

    assert code == 0
    report = json.loads(stdout)
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["version"] == report["version"]
    assert {file["name"] for file in manifest["files"]} == {
        p.relative_to(target).as_posix() for p in target.glob("*/*")
    }
    assert "trigger-missing" in [finding["code"] for finding in report["findings"]]
    with Image.open(sheet) as drawn:
        assert drawn.format == "JPEG"
    assert again == 1
    assert "not empty" in refusal
    if probe := shutil.which("ffprobe"):
        command = [probe, "-v", "error", "-show_streams", "-of", "json", target / "videos/1.mp4"]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        (stream,) = found["streams"]
        assert (stream["avg_frame_rate"], int(stream["nb_frames"]) % 4) == ("16/1", 1)


def test_a_set_that_cannot_be_used_is_not_repaired(run: Run, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.png": png()})

    code, stdout, stderr = run("check", path, "--repair", tmp_path / "set")

    assert code == 1
    assert "a.png has no caption" in stdout
    assert "a.zip cannot be used yet: 1 finding marked [error] above." in stderr
    assert not (tmp_path / "set").exists()


def test_a_folder_in_place_of_a_zip_is_told_to_be_one(run: Run, tmp_path: Path) -> None:
    code, _, stderr = run("check", tmp_path)

    assert code == 1
    assert "is a folder." in stderr
    assert "Zip the folder" in stderr


def test_a_refused_zip_still_gives_json_with_the_reason(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"Rar!\x1a\x07\x01\x00")

    code, stdout, stderr = run("check", path, "--json", "--repair", tmp_path / "set")

    found = json.loads(stdout)
    (finding,) = found["findings"]
    assert code == 1
    assert (finding["code"], finding["severity"], finding["repaired"]) == (
        "not-a-zip",
        "error",
        False,
    )
    assert (finding["cause"], finding["file"]) == ("The file is a RAR archive, not a zip.", None)
    assert (found["version"], found["samples"], found["configs"]) == (None, [], [])
    assert set(found["suits"].values()) == {finding["cause"]}
    assert finding["fix"] in " ".join(stderr.split())
    assert not (tmp_path / "set").exists()


def test_captions_go_out_as_a_table_and_come_back_as_a_version(
    run: Run, tmp_path: Path, archive: Path
) -> None:
    table = tmp_path / "captions.csv"
    _, stored, _ = run("add", archive, "--trigger", "ohwx", "--prefix")
    run("captions", "annika", "--out", table)
    rows = list(csv.reader(table.read_text("utf-8-sig").splitlines()))
    rows[1][1] = "ohwx by the sea"
    rows = [[*row, note] for row, note in zip(rows, ["my notes", "nice", "", ""], strict=True)]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)

    _, edited, _ = run("captions", "annika", "--file", table)
    difference = json.loads(run("diff", "annika@1", "annika@2", "--json")[1])
    clash, _, refusal = run("add", archive, "--name", "annika", "--mode", "add")
    run("add", archive, "--name", "twice")
    _, again, _ = run("add", archive, "--name", "twice")

    assert "annika@1" in stored
    assert "[warning] too-few-samples" in stored
    assert "Identical to twice@1" in again
    assert all(row[1].startswith("ohwx") for row in rows[1:])
    assert "annika@2: annika@1 with 1 caption edited; of the table only file" in edited
    assert "not my notes" in edited
    assert "→ ohwx by the sea" in edited
    assert [c["after"] for c in difference["captions"]] == ["ohwx by the sea"]
    assert clash == 1
    assert "Nothing was overwritten" in refusal
