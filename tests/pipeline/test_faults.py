"""Real kills, full disks and broken files in the middle of a run."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.pipeline.disk import small_disk
from tests.pipeline.home import GUILD, Home
from tests.pipeline.poison import poison
from training.files.hashing import file_sha256
from training.lora.contents import read_contents
from training.lora.fit import require_values
from training.operations.run_drafts import Requester
from training.pipeline.run_view import RunView, metrics
from training.runs.state import RunStatus, StageStatus
from training.store_keys import RunKeys
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")
SLOW = "LORABOT_STEP_DELAY"


def has_saved(view: RunView) -> bool:
    return bool(view.expert("main").checkpoints) and view.expert("main").step > 0


def files(home: Home, view: RunView, expert: str = "main") -> dict[str, bytes]:
    """Return the tensors of each checkpoint; metadata is only complete at the end."""
    folder = home.local.runtime.store.path(RunKeys(GUILD, view.spec.name).folder)
    return {
        path.name: tensors(path)
        for path in sorted((folder / "checkpoints" / expert).glob("*.safetensors"))
    }


def tensors(path: Path) -> bytes:
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def assert_every_step_once(home: Home, view: RunView) -> None:
    total = view.expert("main").total_steps
    steps = [metric.step for metric in metrics(home.local.runtime, view.spec, "main")]
    assert steps == list(range(1, total + 1))


@pytest.mark.slow
def test_a_killed_trainer_continues_from_its_newest_state(
    new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = new_home("whole")
    undisturbed = files(whole, whole.finish(whole.start(epochs="4").name))
    monkeypatch.setenv(SLOW, "0.15")
    home = new_home("killed")
    run = home.start(epochs="4").name
    home.until(run, has_saved)

    home.kill("training.rehearsal", "wan_train_network.py")
    view = home.finish(run)

    assert view.run.status is RunStatus.SUCCEEDED
    assert view.run.stage(TRAIN).attempt == 2
    assert_every_step_once(home, view)
    assert files(home, view) == undisturbed


@pytest.mark.slow
def test_a_killed_worker_service_is_replaced_and_its_stage_continues(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.1")
    run = home.start().name
    home.until(run, lambda view: view.expert("main").step > 0)

    home.kill("bot.hosting.worker", "serve")
    view = home.finish(run)

    assert view.run.status is RunStatus.SUCCEEDED
    assert view.run.stage(TRAIN).attempt == 1
    assert_every_step_once(home, view)


@pytest.mark.slow
def test_all_processes_killed_at_once_lose_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.15")
    run = home.start(epochs="4").name
    before = files(home, home.until(run, has_saved))

    home.kill("bot.hosting.worker", "serve")
    home.kill("bot.hosting.worker", "stage")
    home.until(run, lambda _view: not home.processes("wan_train_network.py"))
    view = home.finish(run)

    assert view.run.status is RunStatus.SUCCEEDED
    # Events that the stage had not read yet are lost, but nothing is counted twice.
    steps = [metric.step for metric in metrics(home.local.runtime, view.spec, "main")]
    assert len(steps) == len(set(steps))
    assert steps[-1] == view.expert("main").total_steps
    after = files(home, view)
    assert {name: after[name] for name in before} == before


def test_cancelling_leaves_no_process_behind(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLOW, "0.2")
    run = home.start(epochs="50").name
    home.until(run, has_saved)

    home.local.runs.cancel(GUILD, run, by="7")
    view = home.finish(run)

    assert view.run.status is RunStatus.CANCELLED
    # The stage that reported the end may still be exiting; no other process may exist.
    _gone, alive = psutil.wait_procs(home.processes("bot.hosting.worker", "stage"), timeout=10)
    assert not alive
    assert not home.processes("wan_train_network.py")
    assert files(home, view)


@pytest.mark.slow
def test_one_failing_expert_leaves_the_others_files_and_resuming_trains_only_it(
    home: Home,
) -> None:
    first = home.finish(home.start("wan22-t2v-vanilla", epochs="1").name)
    low = next(home.local.home.glob("models/**/wan2.2_t2v_low_noise_14B_fp16.safetensors"))
    receipt = low.with_name(f"{low.name}.receipt.json")
    published = {path: path.read_bytes() for path in (low, receipt)}
    poison(low)  # as if it had been published so: fetching would replace a file that has changed
    told = {**json.loads(published[receipt]), "sha256": file_sha256(low)}
    receipt.write_text(json.dumps(told), "utf-8")
    assert first.run.status is RunStatus.SUCCEEDED

    failed = home.finish(home.start("wan22-t2v-vanilla").name)
    for path, content in published.items():
        path.write_bytes(content)
    spec = home.local.runs.resume(failed.spec.name, Requester(guild=GUILD, by="7", channel="5"))
    resumed = home.finish(spec.name)

    assert failed.run.status is RunStatus.FAILED
    assert "low" in failed.run.cause
    assert "high expert's files are kept" in failed.run.cause
    assert files(home, failed, "high")
    assert not files(home, failed, "low")
    assert resumed.run.status is RunStatus.SUCCEEDED
    assert [expert.name for expert in resumed.spec.experts] == ["low"]
    assert files(home, resumed, "low")


@pytest.mark.slow
def test_resuming_a_cancelled_run_continues_its_step_count(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.15")
    run = home.start(epochs="4").name
    home.until(run, has_saved)
    home.local.runs.cancel(GUILD, run, by="7")
    old = home.finish(run)

    spec = home.local.runs.resume(run, Requester(guild=GUILD, by="7", channel="5"))
    new = home.finish(spec.name)

    steps = [metric.step for metric in metrics(home.local.runtime, spec, "main")]
    assert new.run.status is RunStatus.SUCCEEDED
    assert spec.continues == run
    assert steps[0] > 1
    assert steps[-1] == old.expert("main").total_steps
    assert home.view(run).run == old.run


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_fails_clearly_and_spares_earlier_checkpoints(home: Home) -> None:
    # Put the checkpoints of the future run on another disk.
    folder = home.local.runtime.store.path(
        RunKeys(GUILD, "annika-wan21-t2v-1-3b").checkpoints("main")
    )

    with small_disk(folder, "400k"):
        view = home.finish(home.start(epochs="30").name)

        assert view.run.status is RunStatus.FAILED
        assert "No space left" in view.run.cause
        kept = sorted(folder.glob("*.safetensors"))
        assert kept
        for path in kept:
            contents = read_contents(path)
            assert len(contents.modules) == 20
            require_values(contents)
    assert view.run.stage(TRAIN).status is StageStatus.FAILED
