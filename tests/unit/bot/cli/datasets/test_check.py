"""`lorabot check`: findings, repair and contact sheet."""

import json
import shutil
import subprocess
from pathlib import Path

from PIL import Image

from tests.lorabot import Lorabot
from tests.media import guide_files, mp4, png, write_zip


def test_a_zip_is_checked_and_nothing_is_stored(here: Lorabot, archive: Path) -> None:
    report = here.json("check", str(archive))

    assert report["version"]
    fields = ["name", "kind", "caption", "frames", "fps", "width", "height"]
    assert all(set(fields) <= set(sample) for sample in report["samples"])
    assert set(report["totals"]) == {"images", "clips", "seconds", "frames"}
    assert len(report["suits"]) == len(report["predictions"]) == 8
    assert set(report["suits"].values()) == {True}
    for predicted in report["predictions"].values():
        assert sum(bucket["items"] for bucket in predicted["buckets"]) == predicted["items"]
        assert predicted["steps_per_epoch"] == predicted["items"]
    areas = {
        name: max(bucket["width"] * bucket["height"] for bucket in predicted["buckets"])
        for name, predicted in report["predictions"].items()
    }
    assert areas["wan21-i2v-480p"] == areas["wan21-t2v-1-3b"] <= 832 * 480
    assert areas["wan21-i2v-720p"] > 832 * 480
    assert report["original"] is True
    assert not (here.home / "guilds").exists()


def test_a_bad_zip_gives_its_findings_and_exit_code_1(here: Lorabot, tmp_path: Path) -> None:
    files = {n: d for n, d in guide_files(images=2, clips=1).items() if n != "images/000.txt"}
    path = write_zip(tmp_path / "bad.zip", files)

    result = here.run("check", str(path), "--json")

    assert result.returncode == 1
    errors = [f for f in json.loads(result.stdout)["findings"] if f["severity"] == "error"]
    assert [finding["file"] for finding in errors] == ["images/000.png"]
    assert {"code", "severity", "file", "cause", "fix"} <= set(errors[0])
    assert "images/000.png" in result.stderr


def test_a_check_writes_the_repaired_set_and_its_contact_sheet(
    here: Lorabot, tmp_path: Path
) -> None:
    files = {**guide_files(images=1, clips=0), "videos/1.mp4": mp4(60, fps=24), "videos/1.txt": "x"}
    path, target, sheet = write_zip(tmp_path / "a.zip", files), tmp_path / "set", tmp_path / "s.jpg"
    options = ("--repair", target, "--sheet", sheet, "--trigger", "ann1ka")

    report = here.json("check", path, *options)
    refusal = here.refused("check", path, "--repair", target)

    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["version"] == report["version"]
    assert {file["name"] for file in manifest["files"]} == {
        p.relative_to(target).as_posix() for p in target.glob("*/*")
    }
    assert "trigger-missing" in [finding["code"] for finding in report["findings"]]
    with Image.open(sheet) as drawn:
        assert drawn.format == "JPEG"
    assert "not empty" in refusal
    if probe := shutil.which("ffprobe"):
        command = [probe, "-v", "error", "-show_streams", "-of", "json", target / "videos/1.mp4"]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        (stream,) = found["streams"]
        assert (stream["avg_frame_rate"], int(stream["nb_frames"]) % 4) == ("16/1", 1)


def test_a_set_that_cannot_be_used_is_not_repaired(here: Lorabot, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.png": png()})

    result = here.run("check", path, "--repair", tmp_path / "set")

    assert result.returncode == 1
    assert "a.png has no caption" in result.stdout
    assert "a.zip cannot be used yet: see the finding marked [error] above." in result.stderr
    assert not (tmp_path / "set").exists()


def test_a_folder_given_as_a_zip_is_refused_as_a_folder(here: Lorabot, tmp_path: Path) -> None:
    refusal = here.refused("check", tmp_path)

    assert "is a folder." in refusal
    assert "Zip the folder" in refusal


def test_a_refused_zip_still_gives_json_with_the_reason(here: Lorabot, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"Rar!\x1a\x07\x01\x00")

    result = here.run("check", path, "--json", "--repair", tmp_path / "set")

    found = json.loads(result.stdout)
    (finding,) = found["findings"]
    assert result.returncode == 1
    assert (finding["code"], finding["severity"], finding["repaired"]) == (
        "not-a-zip",
        "error",
        False,
    )
    assert (finding["cause"], finding["file"]) == (
        "The file is not a zip, but an archive in the RAR format.",
        None,
    )
    assert (found["version"], found["samples"], found["configs"]) == (None, [], [])
    assert set(found["suits"].values()) == {finding["cause"]}
    assert finding["fix"] in " ".join(result.stderr.split())
    assert not (tmp_path / "set").exists()
