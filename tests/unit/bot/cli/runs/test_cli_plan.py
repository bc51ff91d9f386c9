"""`lorabot plan`: stages, commands, steps, time and cost."""

from pathlib import Path

from tests.lorabot import Lorabot


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
    each = plan["estimate"]["each_gpu"]
    assert [one["usd"] for one in each] == sorted(one["usd"] for one in each)
    assert {one["gpu"] for one in each if one["speed_measured"]} == {"H100", "H200"}
    assert plan["place_in_line"] is None
    assert not (here.home / "guilds").exists()


def test_a_plan_is_priced_for_the_requested_gpu(here: Lorabot, archive: Path) -> None:
    asked = ("plan", "--model", "wan21-i2v-720p", "--dataset", str(archive))

    usual, other = here.json(*asked), here.json(*asked, "--gpu", "h200")
    text = here.run(*asked, "--gpu", "L4").stdout

    assert (usual["gpu"], usual["estimate"]["gpu"]) == (None, "H100")
    assert (other["gpu"], other["estimate"]["gpu"]) == ("H200", "H200")
    assert {need["gpu_gib"] for need in other["memory"]} == {139.0}
    assert other["estimate"]["usd"] != usual["estimate"]["usd"]
    fallbacks = usual["estimate"]["fallbacks"]
    assert [one["gpu"] for one in fallbacks] == ["H200", "A100-80GB"]
    assert all(one["seconds"] > 0 for one in fallbacks)
    assert other["estimate"]["fallbacks"] == []
    assert not usual["estimate"]["speed_measured"]  # Wan 2.1 I2V was not measured
    assert (usual["estimate"]["prices"], usual["estimate"]["prices_live"]) == ("2026-07-01", False)
    plain = " ".join(text.split())
    assert "on an L4 (unmeasured, rough; price list of 2026-07-01)" in plain
    assert "Chosen GPU: L4 (not used by a rehearsal)." in plain
    assert "Won't fit." in plain


def test_a_lightning_file_of_another_repository_is_in_the_plan(
    here: Lorabot, archive: Path
) -> None:
    plan = here.json(
        *("plan", "--model", "wan22-i2v-lightning", "--dataset", str(archive)),
        *("--lightning-file", "low=https://huggingface.co/some/lora/blob/v2/a.safetensors"),
        *("--lightning-strength", "high=0.7"),
    )

    high, low = (stage["argv"] for stage in plan["stages"] if stage["stage"] == "merge")
    assert "lightx2v/Wan2.2-Lightning@" in high[high.index("--lora") + 1]
    assert low[low.index("--lora") + 1].endswith("some/lora@v2/a.safetensors")
    assert [argv[argv.index("--strength") + 1] for argv in (high, low)] == ["0.7", "1"]


def test_a_plan_names_single_frames_and_what_items_clips_saves(
    here: Lorabot, archive: Path
) -> None:
    asked = ("plan", "--model", "wan22-i2v-vanilla", "--dataset", str(archive))

    usual, clips = here.json(*asked), here.json(*asked, "--items", "clips")
    text = " ".join(here.run(*asked).stdout.split())

    found = usual["single_frames"]
    assert clips["single_frames"] is None
    per_epoch = usual["steps_per_epoch"]["high"] - clips["steps_per_epoch"]["high"]
    assert found["steps_per_epoch"] == per_epoch > 0
    assert 0 < found["time_share"] < 1
    assert usual["estimate"]["usd"] > clips["estimate"]["usd"]
    assert f"{per_epoch} of {usual['steps_per_epoch']['high']} steps per epoch" in text
    assert "--items clips leaves them out and saves about" in text


def test_a_plan_says_what_a_limit_on_frames_changes(here: Lorabot, archive: Path) -> None:
    asked = ("plan", "--model", "wan22-t2v-vanilla", "--dataset", str(archive))

    cut = here.json(*asked, "--max-frames", "21")["items"]["remarks"]
    text = " ".join(here.run(*asked, "--max-frames", "81").stdout.split())

    assert cut[-1] == "max-frames 21: 2 items of 45 frames are left out."
    assert "max-frames 81 changes nothing: the longest item has 45 frames." in text


def test_the_reference_preset_is_planned_with_its_values(here: Lorabot, archive: Path) -> None:
    asked = ("plan", "--model", "wan22-i2v-vanilla", "--dataset", str(archive))

    plan = here.json(*asked, "--preset", "reference", "--rank", "low=16")
    text = here.run(*asked, "--preset", "reference").stdout

    high, low = (stage["argv"] for stage in plan["stages"] if stage["stage"] == "train")
    assert plan["preset"] == "reference"
    assert "--force_v2_1_time_embedding" in high
    assert [argv[argv.index("--network_dim") + 1] for argv in (high, low)] == ["32", "16"]
    assert "Preset: reference." in text
    assert "clips (no single frames)" in text
