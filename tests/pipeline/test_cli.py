"""The operator's command line: stable JSON, exit codes, text on stderr."""

import json
from pathlib import Path

import pytest

from tests.media import guide_files, write_zip
from tests.pipeline.lorabot import Lorabot
from training.tensor_header import read_header


def test_models_are_listed_with_all_stable_fields(lorabot: Lorabot) -> None:
    found = lorabot.json("models")

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


def test_a_zip_is_checked_and_nothing_is_stored(lorabot: Lorabot, archive: Path) -> None:
    report = lorabot.json("check", str(archive))

    assert report["version"]
    assert {"name", "kind", "caption"} <= set(report["samples"][0])
    assert not (lorabot.home / "guilds").exists()


def test_a_bad_zip_gives_its_findings_and_exit_code_1(lorabot: Lorabot, tmp_path: Path) -> None:
    files = {n: d for n, d in guide_files(images=2, clips=1).items() if n != "images/000.txt"}
    path = write_zip(tmp_path / "bad.zip", files)

    result = lorabot.run("check", str(path), "--json")

    assert result.returncode == 1
    errors = [f for f in json.loads(result.stdout)["findings"] if f["severity"] == "error"]
    assert [finding["file"] for finding in errors] == ["images/000.png"]
    assert {"code", "severity", "file", "cause", "fix"} <= set(errors[0])
    assert "images/000.png" in result.stderr


def test_a_plan_names_stages_commands_steps_time_and_cost(lorabot: Lorabot, archive: Path) -> None:
    plan = lorabot.json(
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
    assert not (lorabot.home / "guilds").exists()


def test_a_run_by_command_line_from_zip_to_files(lorabot: Lorabot, archive: Path) -> None:
    run = lorabot.json(
        *("train", "--model", "wan22-t2v-vanilla", "--dataset", str(archive)),
        *("--epochs", "1", "--name", "mine", "--expert", "low"),
    )
    again = lorabot.run("train", "--model", "wan21-t2v-14b", "--dataset", "annika", "--epochs=1")
    runs = lorabot.json("runs", "--rebuild")
    got = lorabot.run("download", "mine", "--out", str(lorabot.home / "out"))

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
    assert got.returncode == 0
    (file,) = (lorabot.home / "out").iterdir()
    assert len(read_header(file).tensors) == 60


def test_what_is_refused_says_why_and_changes_nothing(lorabot: Lorabot, archive: Path) -> None:
    train = ("train", "--dataset", str(archive), "--model")

    assert "no model called" in lorabot.refused(*train, "wan23")
    assert "'many'" in lorabot.refused(*train, "wan21-t2v-14b", "--epochs", "many")
    assert "name of a run" in lorabot.refused(*train, "wan21-t2v-14b", "--name", "a/b")
    assert "LORABOT_MUSUBI_DIR" in lorabot.refused(*train, "wan21-t2v-14b", "--engine", "musubi")
    assert "no file" in lorabot.refused("check", "nothing.zip")
    assert "no run called" in lorabot.refused("download", "nobody", "--out", "x")
    assert "LORABOT_DISCORD_TOKEN" in lorabot.refused("serve")
    assert not (lorabot.home / "guilds").exists()


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("train",), ("plan", "--model"), ("runs", "--frob"), ("check",)],
)
def test_wrong_usage_is_exit_code_2(lorabot: Lorabot, arguments: tuple[str, ...]) -> None:
    assert lorabot.refused(*arguments, code=2)
