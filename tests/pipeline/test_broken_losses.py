"""A NaN loss: the run ends at its last good state and names the item at fault."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bot.messages.card import Colour
from bot.messages.runs.answers import ended_ping
from bot.messages.runs.card import run_card
from bot.service.downloads.bundle import bundle
from storage.local.store import FolderStore
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.poison import poison
from tests.pipeline.stages import Stages
from training import store_keys
from training.catalogue.models import find_model
from training.errors import RequestError
from training.files.safetensors_header import read_header
from training.files.seal import seal
from training.operations.run_drafts import Requester
from training.pipeline.stages.recorder import Recorder
from training.ports import StoreChanges
from training.remedies import LeaveOut, LowerRate
from training.runs.spec import RunSpec, TrainRequest
from training.runs.state import Run, RunStatus, StageStatus
from training.runs.training_events import CheckpointSaved, ProgressEvent, StateSaved
from training.store_keys import RunKeys
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")
ASKER = Requester(guild=GUILD, by="7")


def caption_of(stages: Stages, spec: RunSpec) -> Path:
    return min(stages.folder(spec).glob("images/002_wan_te.safetensors")).resolve()


def latents_of(stages: Stages, spec: RunSpec) -> Path:
    return min(stages.folder(spec).glob("images/002_*x*_wan.safetensors")).resolve()


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    found = Stages(tmp_path)
    found.upload(guide_files(images=4, clips=2))
    return found


def cached(stages: Stages, **settings: str) -> RunSpec:
    """Return a run whose caches are complete."""
    given = {"epochs": "3", "save_every": "1", "seed": "4", **settings}
    request = TrainRequest(model="wan21-t2v-1-3b", dataset="annika", settings=given)
    spec = stages.make_ready(stages.local.runs.start(request, ASKER, "rehearsal"))
    stages.cache(spec)
    return spec


def load(stages: Stages, spec: RunSpec) -> Run:
    return stages.local.runtime.log(GUILD, spec.name).load()


def after_training(stages: Stages, spec: RunSpec) -> Run:
    stages.run(spec, TRAIN)
    return load(stages, spec)


@pytest.mark.parametrize("file_of", [latents_of, caption_of])
def test_a_cache_file_with_nan_is_named_and_can_be_left_out(
    file_of: Callable[[Stages, RunSpec], Path], stages: Stages
) -> None:
    spec = cached(stages)
    poison(file_of(stages, spec))
    seal(file_of(stages, spec))  # as if the cache stage had computed NaN

    run = after_training(stages, spec)

    state = run.stage(TRAIN)
    assert state.status is StageStatus.FAILED
    (sample,) = (s for s in stages.local.runtime.report(spec).images if "002" in s.name)
    assert sample.source in state.cause
    assert state.remedy == LeaveOut(sample=sample.name)
    assert "loss_not_finite" in run.expert("main").troubles

    again = stages.local.runs.try_again(spec.name, ASKER)

    assert again.left_out == (sample.name,)
    assert again.steps_per_epoch == spec.steps_per_epoch - 1
    assert again.continues is None
    stages.make_ready(again)
    stages.cache(again)
    assert stages.run(again, TRAIN) is StageStatus.SUCCEEDED
    names = {path.name for path in stages.folder(again).glob("images/*_wan.safetensors")}
    assert len(names) == 3
    with pytest.raises(RequestError, match=f"{again.name} already repeats {spec.name}"):
        stages.local.runs.try_again(spec.name, ASKER)


def test_without_a_bad_file_a_lower_rate_is_suggested(stages: Stages) -> None:
    spec = cached(stages)
    model = find_model(spec.model)
    poison(stages.local.runtime.store.path(store_keys.weight("rehearsal", model.experts[0].dit)))

    run = after_training(stages, spec)

    rate = run.stage(TRAIN).remedy
    assert isinstance(rate, LowerRate)
    assert rate.learning_rate == pytest.approx(0.3 * spec.expert("main").settings.learning_rate)
    assert "the loss became NaN or infinite" in run.stage(TRAIN).cause

    again = stages.local.runs.try_again(spec.name, ASKER)

    assert again.expert("main").settings.learning_rate == rate.learning_rate
    assert again.continues == spec.name


def spoil_what_is_saved(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Fill checkpoints and states with NaN, as a last step without a finite gradient does."""
    take = Recorder.take

    def spoil_and_take(recorder: Recorder, event: ProgressEvent) -> None:
        if isinstance(event, CheckpointSaved | StateSaved) and event.path.endswith(ending):
            saved = Path(event.path)
            poison(saved / "model.safetensors" if saved.is_dir() else saved)
        take(recorder, event)

    monkeypatch.setattr(Recorder, "take", spoil_and_take)


def test_a_checkpoint_with_nan_is_removed_and_training_goes_on(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = cached(stages)
    spoil_what_is_saved(monkeypatch, "000001.safetensors")

    run = after_training(stages, spec)

    assert run.stage(TRAIN).status is StageStatus.SUCCEEDED
    assert [c.epoch for c in run.expert("main").checkpoints] == [2, 3]
    folder = stages.local.runtime.store.path(RunKeys(GUILD, spec.name).checkpoints("main"))
    assert not list(folder.glob("*000001.safetensors"))


def test_a_last_checkpoint_with_nan_is_the_cause_and_not_a_bug(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = cached(stages)
    output_name = spec.output_name("main")
    spoil_what_is_saved(monkeypatch, f"/{output_name}.safetensors")
    spoil_what_is_saved(monkeypatch, f"/{output_name}-state")

    run = after_training(stages, spec)

    state = run.stage(TRAIN)
    assert state.status is StageStatus.FAILED
    assert f"its last checkpoint, {output_name}.safetensors, contains NaN" in state.cause
    assert isinstance(state.remedy, LowerRate)
    assert [c.epoch for c in run.expert("main").checkpoints] == [1, 2]
    folder = stages.local.runtime.store.path(RunKeys(GUILD, spec.name).checkpoints("main"))
    assert all(map(good_values, folder.glob("*-state/model.safetensors")))
    again = stages.local.runs.try_again(spec.name, ASKER)
    assert again.continues == spec.name


def good_values(path: Path) -> bool:
    return read_header(path).first_non_finite() is None


def spoil_items_after_an_epoch(
    monkeypatch: pytest.MonkeyPatch, stages: Stages, spec: RunSpec, spoil: Callable[[Path], None]
) -> None:
    """Change the latents of all images once the first epoch is over."""
    monkeypatch.setenv("LORABOT_STEP_DELAY", "0.05")
    saved: list[str] = []
    original = FolderStore.change

    def change(store: FolderStore, changes: StoreChanges) -> None:
        original(store, changes)
        if not saved and any(key.endswith("000001.safetensors") for key in changes.kept):
            saved.extend(changes.kept)
            for path in stages.folder(spec).glob("images/*_wan.safetensors"):
                spoil(path.resolve())

    monkeypatch.setattr(FolderStore, "change", change)


def magnify(path: Path) -> None:
    """Multiply each value of the largest tensor of a file by 2 to the power of 5."""
    header = read_header(path)
    entry = max(header.tensors.values(), key=lambda entry: entry.size_bytes)
    content = bytearray(path.read_bytes())
    values = np.frombuffer(bytes(content[entry.start : entry.end]), "<u2")
    exponent = 5 << 7  # of bfloat16
    content[entry.start : entry.end] = np.where(
        values & 0x7F80, values + exponent, values
    ).tobytes()
    path.write_bytes(content)


def test_a_loss_that_diverges_is_shown_at_once_and_never_ends_as_a_success(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = cached(stages)
    spoil_items_after_an_epoch(monkeypatch, stages, spec, magnify)

    live = after_training(stages, spec)
    warned = run_card(stages.local.runs.view(GUILD, spec.name), now=datetime.now(UTC))
    stages.run(spec, StageKey("publish", "main"))
    ended = stages.local.runs.view(GUILD, spec.name)

    assert not live.status.is_final
    assert live.expert("main").troubles == ("loss_diverged",)
    assert warned.colour is Colour.WARNING
    assert "The loss diverged" in warned.text
    assert ended.run.status is RunStatus.SUCCEEDED
    assert run_card(ended, now=datetime.now(UTC)).title.endswith("finished, but the loss diverged")
    assert ended_ping(ended).startswith("⚠")
    assert [c.epoch for c in ended.run.expert("main").checkpoints] == [1, 2, 3]


def test_checkpoints_saved_before_are_good_and_stay(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = cached(stages)
    folder = stages.local.runtime.store.path(RunKeys(GUILD, spec.name).checkpoints("main"))
    spoil_items_after_an_epoch(monkeypatch, stages, spec, poison)

    run = after_training(stages, spec)
    runtime = stages.local.runtime
    offered = bundle(runtime.store, runtime.log(GUILD, spec.name).load(), None)

    assert run.stage(TRAIN).status is StageStatus.FAILED
    assert [c.epoch for c in run.expert("main").checkpoints] == [1]
    assert all(map(good_values, folder.glob("*.safetensors")))
    assert all(map(good_values, folder.glob("*-state/model.safetensors")))
    (saved,) = folder.glob("*.safetensors")
    assert offered.missing == ()
    names = [member.name for member in offered.members]
    assert [Path(one).name for one in names if one.endswith(".safetensors")] == [saved.name]
