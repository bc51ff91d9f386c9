"""The operator's command line: stable JSON, exit codes, text on stderr."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.media import encode_clip, guide_files, pan, write_zip
from tests.pipeline.lorabot import Lorabot
from training.files.safetensors_header import read_header


def test_models_are_listed_with_all_stable_fields(here: Lorabot) -> None:
    found = here.json("models")

    fields = [
        "name",
        "use_case",
        "task",
        "dtype",
        "i2v",
        "clip",
        "flow_shift",
        "gpu",
        "speed_lora",
        "modules",
        "experts",
    ]
    of_experts = ["name", "dit", "min_timestep", "max_timestep", "rank", "alpha", "learning_rate"]
    assert len(found) == 8
    for model in found:
        assert set(fields) <= set(model)
        for expert in model["experts"]:
            assert set(of_experts) <= set(expert)
            assert set(expert["dit"]) >= {"repo", "file"}


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


def test_a_plan_names_stages_commands_steps_time_and_cost(here: Lorabot, archive: Path) -> None:
    plan = here.json(
        "plan", "--model", "wan22-i2v-lightning", "--dataset", str(archive), "--epochs", "high=3"
    )

    assert plan["model"] == "wan22-i2v-lightning"
    assert {stage["stage"] for stage in plan["stages"]} == {
        *("prepare", "fetch", "cache", "merge", "train", "publish")
    }
    assert {stage["device"] for stage in plan["stages"]} == {"cpu", "gpu"}
    commands = [stage["argv"] for stage in plan["stages"] if stage["argv"]]
    assert len(commands) == 6
    per_epoch = plan["steps_per_epoch"]["high"]
    assert plan["total_steps"] == {"high": 3 * per_epoch, "low": 50 * per_epoch}
    assert plan["estimate"]["seconds"] > 0
    assert plan["estimate"]["usd"] > 0
    assert not (here.home / "guilds").exists()


def test_a_plan_is_priced_for_the_gpu_that_is_asked_for(lorabot: Lorabot, archive: Path) -> None:
    asked = ("plan", "--model", "wan21-i2v-720p", "--dataset", str(archive))

    usual, other = lorabot.json(*asked), lorabot.json(*asked, "--gpu", "h200")
    text = lorabot.run(*asked, "--gpu", "L4").stdout

    assert (usual["gpu"], usual["estimate"]["gpu"]) == (None, "H100")
    assert (other["gpu"], other["estimate"]["gpu"]) == ("H200", "H200")
    assert {need["gpu_gib"] for need in other["memory"]} == {139.0}
    assert other["estimate"]["usd"] > usual["estimate"]["usd"]
    assert usual["estimate"]["speed_measured"]
    assert not other["estimate"]["speed_measured"]
    assert (usual["estimate"]["prices"], usual["estimate"]["prices_live"]) == ("2026-07-01", False)
    plain = " ".join(text.split())
    assert "on L4 (rough; its speed not measured, price list of 2026-07-01)" in plain
    assert "GPU asked for: L4. A rehearsal uses none, the real training would." in plain
    assert "It would not fit." in plain


def test_a_lightning_file_of_another_repository_is_in_the_plan(
    lorabot: Lorabot, archive: Path
) -> None:
    plan = lorabot.json(
        *("plan", "--model", "wan22-i2v-lightning", "--dataset", str(archive)),
        *("--lightning-file", "low=https://huggingface.co/some/lora/blob/v2/a.safetensors"),
        *("--lightning-strength", "high=0.7"),
    )

    high, low = (stage["argv"] for stage in plan["stages"] if stage["stage"] == "merge")
    assert "lightx2v/Wan2.2-Lightning@" in high[high.index("--lora") + 1]
    assert low[low.index("--lora") + 1].endswith("some/lora@v2/a.safetensors")
    assert [argv[argv.index("--strength") + 1] for argv in (high, low)] == ["0.7", "1"]


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


def test_what_is_refused_says_why_and_changes_nothing(here: Lorabot, archive: Path) -> None:
    train = ("train", "--dataset", str(archive), "--model")

    assert "no model called" in here.refused(*train, "wan23")
    assert "'many'" in here.refused(*train, "wan21-t2v-14b", "--epochs", "many")
    assert "A100-40GB" in here.refused(*train, "wan21-t2v-14b", "--gpu", "GTX")
    assert "owner/repo:path" in here.refused(
        *train, "wan22-t2v-lightning", "--lightning-file", "https://example.com/a.safetensors"
    )
    assert "name of a run" in here.refused(*train, "wan21-t2v-14b", "--name", "a/b")
    assert "LORABOT_MUSUBI_DIR" in here.refused(*train, "wan21-t2v-14b", "--engine", "musubi")
    assert "no file" in here.refused("check", "nothing.zip")
    assert "no run called" in here.refused("download", "nobody", "--out", "x")
    assert f"lorabot runs --home {here.home}\n" in here.refused("resume", "nobody")
    assert "LORABOT_DISCORD_TOKEN" in here.refused("serve")
    assert not (here.home / "guilds").exists()


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("train",), ("plan", "--model"), ("runs", "--frob"), ("check",)],
)
def test_wrong_usage_is_exit_code_2(here: Lorabot, arguments: tuple[str, ...]) -> None:
    assert here.refused(*arguments, code=2)


OWN = """
[[datasets]]
video_directory = "/data/videos"
resolution = [320, 192]
enable_bucket = true
frame_extraction = "chunk"
target_frames = [9]
"""


@pytest.mark.slow
def test_a_run_on_the_uploaded_files_by_a_toml_of_its_own(lorabot: Lorabot, tmp_path: Path) -> None:
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

    # 20 frames are left of 30 at 24 fps, and 22 of 40 at 30 fps: two pieces of nine each. The
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
def test_a_cancelled_run_is_gone_on_with(lorabot: Lorabot, archive: Path) -> None:
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
