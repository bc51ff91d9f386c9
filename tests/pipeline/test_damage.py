"""Damaged and removed files are reported, and everything else continues."""

import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from bot.cli.output import console
from bot.demo.play import on_this_machine, play
from tests.damage import DAMAGE
from tests.lorabot import Lorabot
from tests.pipeline.disk import small_disk
from tests.pipeline.home import GUILD, Home
from tests.pipeline.stages import Stages
from training import store_keys
from training.errors import TrainingError
from training.operations.run_drafts import Requester
from training.pipeline.advance import lease_name
from training.pipeline.run_view import metrics
from training.runs.event_log import Writer
from training.runs.events import StageEvent
from training.runs.spec import TrainRequest
from training.runs.state import RunStatus
from training.runs.training_events import CheckpointSaved
from training.store_keys import RunKeys
from training.vocabulary import StageKey

REQUESTER = Requester(guild=GUILD, by="7", channel="5")
SLOW = "LORABOT_STEP_DELAY"


@pytest.mark.slow
def test_a_run_whose_report_is_removed_with_its_dataset_fails_and_the_others_continue(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.1")
    victim = home.start(name="victim", epochs="50").name
    other = home.start(name="other").name
    home.until(victim, lambda view: view.expert("main").step > 0)

    for key in (RunKeys(GUILD, victim).report, store_keys.dataset(GUILD, "annika", 1)):
        home.local.runtime.store.delete(key)

    assert home.finish(other).run.status is RunStatus.SUCCEEDED
    home.kill("training.rehearsal", "victim")
    failed = home.finish(victim)
    assert failed.run.status is RunStatus.FAILED
    assert "removed or damaged" in failed.run.cause


def test_a_run_with_a_damaged_record_is_listed_as_damaged(home: Home) -> None:
    good = home.view(home.start(name="good", epochs="1").name)
    store = home.local.runtime.store
    store.write(RunKeys(GUILD, "bad").spec, b"{")

    listed = {run.name: run for run in home.local.runs.summaries(GUILD)}

    assert listed["good"].state == good.run.status
    assert listed["bad"].state == "damaged"
    assert listed["bad"].error


def test_a_damaged_lease_is_free(home: Home) -> None:
    name = lease_name(GUILD, "run", StageKey("train", "main"))
    grant = home.local.runtime.leases.acquire(name, holder="a")
    assert grant is not None
    for path in (home.local.home / "leases").iterdir():
        path.write_bytes(b'{"name": "x')

    assert not home.local.runtime.leases.renew(grant)
    assert home.local.runtime.leases.acquire(name, holder="b") is not None


@pytest.mark.slow
def test_resuming_a_resumed_run_continues_from_the_first_runs_state(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.15")
    first = home.start(epochs="4").name
    home.until(first, lambda view: bool(view.expert("main").checkpoints))
    home.local.runs.cancel(GUILD, first, by="7")
    home.finish(first)
    second = home.local.runs.resume(first, REQUESTER)
    home.local.runs.cancel(GUILD, second.name, by="7")
    home.finish(second.name)

    third = home.local.runs.resume(second.name, REQUESTER)
    ended = home.finish(third.name)

    steps = [metric.step for metric in metrics(home.local.runtime, third, "main")]
    assert ended.run.status is RunStatus.SUCCEEDED
    assert steps[0] > 1
    assert steps[-1] == ended.expert("main").total_steps


def test_damaged_databases_are_rebuilt(here: Lorabot) -> None:
    (here.home / "local").mkdir(parents=True)
    (here.home / "index.sqlite").write_bytes(b"garbage" * 1000)
    (here.home / "local" / "queue.sqlite").write_bytes(b"garbage" * 1000)

    assert here.json("runs", "--rebuild") == []
    assert list((here.home / "local").glob("queue-damaged-*.sqlite"))


@pytest.mark.slow
def test_a_training_continues_though_the_queue_and_the_index_are_damaged(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.1")
    run = home.start(epochs="4").name
    home.until(run, lambda view: view.expert("main").step > 0)

    for name in ("local/queue.sqlite", "index.sqlite"):
        (home.local.home / name).write_bytes(b"garbage" * 1000)
    home.kill("bot.hosting.worker", "serve")
    view = home.finish(run)

    assert view.run.status is RunStatus.SUCCEEDED
    assert view.run.stage(StageKey("train", "main")).attempt == 1
    assert [summary.name for summary in home.local.runs.summaries(GUILD)] == [run]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")
def test_a_home_on_a_read_only_disk_can_be_read(
    here: Lorabot, stocked: Path, tmp_path: Path
) -> None:
    with small_disk(here.home, "16m"):
        _trained(here, stocked, epochs=1)
        subprocess.run(["mount", "-o", "remount,ro", str(here.home)], check=True)

        listed = here.json("runs")
        got = here.run("download", "mine", "--out", tmp_path / "out")
        refused = here.refused("cancel", "mine")

    assert [entry["name"] for entry in listed] == ["mine"]
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "out/mine-000001.safetensors").read_bytes() == b"weights of epoch 1"
    assert "is on a disk that cannot be written" in refused


def test_download_copies_what_is_whole_and_names_the_rest(
    here: Lorabot, stocked: Path, tmp_path: Path
) -> None:
    run = _trained(here, stocked, epochs=4)
    _, *damaged = (run / f"mine-{epoch:06d}.safetensors" for epoch in range(1, 5))
    for file, damage in zip(damaged, DAMAGE.values(), strict=True):
        damage(file)

    partly = here.run("download", "mine", "--out", tmp_path / "out")
    nothing = here.refused("download", "mine", "--epoch", 4, "--out", tmp_path / "none")

    assert partly.returncode == 1
    said = " ".join(partly.stderr.split())
    assert all(file.name in said for file in damaged)
    assert "are missing or damaged in the store" in said
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors")] == [
        "mine-000001.safetensors"
    ]
    assert "mine-000004.safetensors is missing or damaged" in " ".join(nothing.split())
    assert not (tmp_path / "none").exists()


def _trained(here: Lorabot, stocked: Path, epochs: int) -> Path:
    """Store a run with a checkpoint for each epoch and return their folder."""
    shutil.copytree(stocked, here.home, dirs_exist_ok=True)
    (here.home / "guilds" / GUILD).rename(here.home / "guilds/local")
    local = Stages(here.home.parent).local
    request = TrainRequest(model="wan21-t2v-1-3b", dataset="annika", name="mine")
    spec = local.runs.start(request, Requester(guild="local", by="7"), "rehearsal")
    for epoch in range(1, epochs + 1):
        data = f"weights of epoch {epoch}".encode()
        saved = CheckpointSaved(
            path=f"checkpoints/main/mine-{epoch:06d}.safetensors",
            epoch=epoch,
            step=epoch,
            size_bytes=len(data),
            crc32=zlib.crc32(data),
            is_final=False,
        )
        local.runtime.store.write(f"{spec.keys.folder}/{saved.path}", data)
        local.runtime.log("local", "mine").append(
            Writer(name="train-main", attempt=1),
            StageEvent(at=spec.created_at, key=StageKey("train", "main"), attempt=1, body=saved),
        )
    return local.runtime.store.path(spec.keys.checkpoints("main"))


def test_reading_commands_create_nothing(here: Lorabot) -> None:
    assert here.json("runs") == []
    assert "no run called" in here.refused("download", "nobody", "--out", "x")

    assert not here.home.exists()


async def test_the_demo_refuses_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")

    with pytest.raises(TrainingError, match="not from a demo"):
        await play(tmp_path, console, on_this_machine())

    assert (tmp_path / "mine.txt").read_text() == "keep"
