"""The operator's command line: stable JSON, exit codes, text on stderr."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lorabot import Lorabot
from tests.media import encode_clip, pan, write_zip
from training.files.safetensors_header import read_header


@pytest.mark.slow
def test_a_run_by_command_line_from_zip_to_files(lorabot: Lorabot, archive: Path) -> None:
    run = lorabot.json(
        *("train", "--model", "wan22-t2v-vanilla", "--dataset", str(archive)),
        *("--epochs", "1", "--name", "mine", "--expert", "low"),
    )
    again = lorabot.run("train", "--model", "wan21-t2v-14b", "--dataset", "annika", "--epochs=1")
    runs = lorabot.json("runs", "--rebuild")
    got = lorabot.run("download", "mine", "--out", str(lorabot.home / "out"))
    refusal = lorabot.refused("download", "nobody", "--out", "x")

    assert (run["name"], run["state"], run["error"]) == ("mine", "succeeded", None)
    assert again.returncode == 0
    assert "train-main: done" in again.stdout
    assert {entry["name"] for entry in runs} == {"mine", "annika-wan21-t2v-14b"}
    fields = ["name", "model", "dataset", "state", "stage", "experts", "error"]
    assert all(set(fields) <= set(entry) for entry in runs)
    mine = next(entry for entry in runs if entry["name"] == "mine")
    (expert,) = mine["experts"]
    assert {"name", "epoch", "step", "total_steps", "loss", "checkpoints"} <= set(expert)
    assert (expert["step"], mine["dataset"]) == (expert["total_steps"], "annika@1")
    assert "no run called" in refusal
    assert got.returncode == 0
    file, workflow = sorted((lorabot.home / "out").iterdir(), key=lambda path: path.suffix)[::-1]
    assert len(read_header(file).tensors) == 60
    assert read_header(file).metadata["lorabot.expert"] == "low"
    assert file.name in workflow.read_text("utf-8")


OWN = """
[[datasets]]
video_directory = "/data/videos"
resolution = [320, 192]
enable_bucket = true
frame_extraction = "chunk"
target_frames = [9]
"""


@pytest.mark.slow
def test_a_run_on_uploaded_files_with_its_own_toml(lorabot: Lorabot, tmp_path: Path) -> None:
    clips = {f"{n}.mp4": (frames, fps) for n, frames, fps in ((1, 30, 24), (2, 40, 30))}
    files: dict[str, bytes | str] = {
        name: encode_clip(list(pan(frames, 832, 480, seed=fps)), fps=fps)
        for name, (frames, fps) in clips.items()
    }
    files |= {str(Path(name).with_suffix(".txt")): f"ann1ka {name}" for name in clips}
    path = write_zip(tmp_path / "rates.zip", files)
    (tmp_path / "own.toml").write_text(OWN)

    run = lorabot.json(
        *("train", "--model", "wan21-i2v-480p", "--epochs", "1", "--name", "raw"),
        *("--dataset", str(path), "--media", "original"),
        *("--dataset-toml", str(tmp_path / "own.toml")),
    )

    # 20 of 30 frames remain at 24 fps, and 22 of 40 at 30 fps: two items of nine frames each. The
    # caching has counted what it found against this.
    assert (run["dataset"], run["experts"][0]["total_steps"]) == ("rates@1", 4)
    folder = lorabot.home / "guilds/local"
    spec = json.loads((folder / "runs/raw/spec.json").read_bytes())
    used = (folder / "runs/raw/inputs/dataset.toml").read_text()
    assert spec["dataset"]["media"] == "original"
    assert spec["dataset_toml"] == OWN
    assert "/data/videos" not in used
    assert "source_fps = 24.0" in used
    prepared = folder / "prepared" / spec["dataset"]["version"]
    assert (prepared / "videos-24fps/1.mp4").read_bytes() == files["1.mp4"]


@pytest.mark.slow
def test_a_cancelled_run_is_resumed(lorabot: Lorabot, archive: Path) -> None:
    line = ("train", "--model", "wan21-t2v-1-3b", "--dataset", str(archive), "--name", "mine")
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(lorabot.run, *line, "--epochs", "2")
        while not lorabot.json("runs"):
            time.sleep(0.1)
        cancelled = lorabot.run("cancel", "mine")

    resumed = lorabot.run("resume", "mine")

    assert (cancelled.returncode, ended.result().returncode) == (0, 1)
    assert "mine was cancelled." in ended.result().stderr
    assert "lorabot resume mine" in ended.result().stderr
    assert resumed.returncode == 0
    assert "mine-2 succeeded" in resumed.stdout
