"""Trainings that start from a LoRA continue from its values, and its removal is safe."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import (
    load_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from tests.adapters import tensors, widths, write_adapter
from tests.damage import DAMAGE
from tests.pipeline.home import GUILD, Home
from training.catalogue.models import find_model
from training.errors import AdapterError, NotFoundError, RequestError, TrainingError
from training.files.safetensors_header import read_header
from training.operations.retry import rest_of, with_suggestion
from training.operations.run_drafts import Requester
from training.remedies import FewerFrames
from training.runs.spec import ExpertChoice, RunSpec, TrainRequest
from training.runs.state import Run, RunStatus
from training.store_keys import RunKeys
from training.vocabulary import ExpertName

PAIR, REQUESTER = "wan22-t2v-vanilla", Requester(guild=GUILD, by="7", channel="5")
SETTINGS = {"epochs": "1", "save_every": "1", "rank": "4"}


def stored(home: Home, folder: Path, expert: ExpertName, rank: int = 4) -> Path:
    """Store a LoRA named after its expert and return its source file."""
    path = folder / f"{expert}.safetensors"
    write_adapter(path, tensors(widths(PAIR), rank=rank, up=0.01))
    home.local.loras.add(GUILD, path, model=PAIR, expert=expert, name=expert, by="7")
    return path


def request(
    resume_from: str, settings: Mapping[str, str] | None = None, expert: ExpertChoice = "both"
) -> TrainRequest:
    return TrainRequest(
        model=PAIR,
        dataset="annika",
        expert=expert,
        resume_from=resume_from,
        settings={**SETTINGS, **(settings or {})},
    )


def draft(home: Home, asked: TrainRequest, guild: str = GUILD) -> RunSpec:
    return home.local.runs.draft(asked, Requester(guild=guild, by="7"), "rehearsal")


def test_remarks_about_a_starting_point_are_in_the_spec(home: Home, tmp_path: Path) -> None:
    metadata = {"lorabot.variant": "lightning"}
    path = tmp_path / "person_high_noise.safetensors"
    write_adapter(path, tensors(widths(PAIR), up=0.01), metadata)
    home.local.loras.add(GUILD, path, model=PAIR, expert="low", name="person", by="7")

    start = draft(home, request("low=person")).expert("low").start

    assert start is not None
    assert start.remarks == (
        "The file's name says high noise, but the low expert uses the file.",
        "The LoRA was trained with a speed LoRA merged in; wan22-t2v-vanilla has none.",
    )


@pytest.mark.slow
def test_a_run_starts_from_the_values_of_its_own_copy(home: Home, tmp_path: Path) -> None:
    path = stored(home, tmp_path, "high")
    start = load_file(path)

    # With such a small rate, training changes no value by even one bit of bf16.
    asked = request("high=high", {"learning_rate": "1e-12"})
    spec = home.local.runs.start(asked, REQUESTER, "rehearsal")
    home.local.loras.delete(GUILD, "high")
    view = home.finish(spec.name)

    assert view.run.status is RunStatus.SUCCEEDED, view.run.cause
    high = home.local.runtime.store.path(
        f"{RunKeys(GUILD, spec.name).folder}/{view.run.expert('high').checkpoints[-1].file}"
    )
    low = high.parent.parent / "low" / high.name.replace("-high", "-low")
    for key, values in start.items():
        trained = read_header(high).read(key)
        assert np.allclose(trained, values.astype(np.float32), rtol=2**-8, atol=0)
        if key.endswith("lora_up.weight"):
            assert np.abs(read_header(low).read(key)).max() < 1e-6
    facts = read_header(high).metadata
    started = spec.expert("high").start
    assert started is not None
    assert facts["lorabot.started_from"] == started.sha256
    assert spec.expert("low").start is None
    assert "lorabot.started_from" not in read_header(low).metadata
    for saved in view.run.expert("high").checkpoints:
        on_disk = home.local.runtime.store.path(f"{RunKeys(GUILD, spec.name).folder}/{saved.file}")
        assert saved.size_bytes == on_disk.stat().st_size
    _from_that_run(home, spec)


def _from_that_run(home: Home, old: RunSpec) -> None:
    """Each expert's own checkpoint of one epoch, named once for both."""
    found = draft(home, request(f"{old.name}/e1"))

    hashes = {e.name: e.start.sha256 for e in found.experts if e.start is not None}
    receipts = {
        name: json.loads(
            home.local.runtime.store.read(
                f"{RunKeys(GUILD, old.name).folder}/receipts/publish-{name}.json"
            )
        )
        for name in ("high", "low")
    }
    assert hashes == {
        name: next(iter(receipt["files"].values()))["sha256"] for name, receipt in receipts.items()
    }
    names = home.local.runs.starting_points(GUILD)
    assert names[f"{old.name}/e1"] == f"{old.name}/e1 (rank 4, 4)"
    assert f"{old.name}/high-e1" not in names
    for reference, said in (
        (f"{old.name}/e7", "no checkpoint of epoch 7"),
        (f"low={old.name}/high-e1", "is from the high expert"),
        (f"{old.name}/last", "is not a checkpoint of a run"),
        ("nobody/e1", "no run called"),
    ):
        with pytest.raises(TrainingError, match=said):
            draft(home, request(reference))
    with pytest.raises(NotFoundError):
        draft(home, request(f"{old.name}/e1"), guild="2")


def test_the_trainers_command_names_the_runs_copy(home: Home, tmp_path: Path) -> None:
    stored(home, tmp_path, "high")
    spec = draft(home, request("high=high"))
    home.local.runs.initial_weights.keep(spec)
    store = home.local.runtime.store
    report = home.local.datasets.report(GUILD, home.local.datasets.find(GUILD, "annika"))
    store.write(RunKeys(GUILD, spec.name).report, report.model_dump_json().encode())
    planner = home.local.runtime.planner(spec)

    command = planner.train_command("high")
    resumed = planner.train_command("high", resume=Path("/state"))

    copy = Path(command[command.index("--network_weights") + 1])
    assert copy.is_file()
    assert copy.is_relative_to(store.path(RunKeys(GUILD, spec.name).folder))
    assert "--network_weights" not in planner.train_command("low")
    # A state has the newer values.
    assert "--network_weights" not in resumed


@pytest.mark.parametrize(
    ("reference", "settings", "said", "fix"),
    [
        (
            "high=high",
            {"rank": "8"},
            "high has rank 4, .* rank 8",
            "Set the rank of the high expert to 4",
        ),
        (
            "high=high",
            {"alpha": "2"},
            "high has alpha 4, .* alpha 2",
            "Set the alpha of the high expert to 4",
        ),
        ("high", {}, "is for .*, expert high; training .*, expert low, cannot start", "high=high"),
        ("low=high", {}, "is for .*, expert high", "high=high"),
        ("high=nobody", {}, "no checkpoint called 'nobody'", "Choose one of: high"),
        ("main=high", {}, "expert main is not trained", "each of: high, low"),
    ],
)
def test_an_unfit_starting_point_is_refused_before_anything_is_stored(
    home: Home, tmp_path: Path, reference: str, settings: dict[str, str], said: str, fix: str
) -> None:
    stored(home, tmp_path, "high")

    with pytest.raises((RequestError, NotFoundError), match=said) as refused:
        home.local.runs.start(request(reference, settings), REQUESTER, "rehearsal")

    assert fix in refused.value.fix
    assert home.local.runs.names(GUILD) == []


def test_a_checkpoint_of_an_expert_cannot_start_a_model_without_experts(home: Home) -> None:
    asked = request("some-run/high-e1").model_copy(update={"model": "wan21-t2v-1-3b"})

    with pytest.raises(
        RequestError, match="from the high expert; the main expert cannot start"
    ) as refused:
        draft(home, asked)

    assert "single expert" in refused.value.fix


def test_another_model_another_guild_and_another_engine_are_refused(
    home: Home, tmp_path: Path
) -> None:
    stored(home, tmp_path, "high")
    real = write_adapter(
        tmp_path / "real.safetensors", tensors(widths("wan21-t2v-1-3b", "musubi"), rank=1)
    )
    home.local.loras.add(GUILD, real, model="wan21-t2v-1-3b", by="7")
    single: dict[str, object] = {"dataset": "annika", "settings": {"rank": "4"}}

    for model, name, said in (
        ("wan21-t2v-14b", "high", "is for wan22-t2v-vanilla, expert high"),
        ("wan21-t2v-1-3b", "real", "is a LoRA for the real model; this run trains a rehearsal"),
    ):
        asked = TrainRequest.model_validate({**single, "model": model, "resume_from": name})
        with pytest.raises(RequestError, match=said):
            draft(home, asked)


def test_continuing_runs_keep_the_first_runs_starting_point(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(home, tmp_path, "high")
    monkeypatch.setenv("LORABOT_STEP_DELAY", "5")
    first = home.local.runs.start(request("high", expert="high"), REQUESTER, "rehearsal")
    home.local.runs.cancel(GUILD, first.name, by="7")
    ended = home.finish(first.name).run
    home.local.loras.delete(GUILD, "high")
    monkeypatch.setenv("LORABOT_STEP_DELAY", "0")

    second = home.local.runs.resume(first.name, REQUESTER)

    start = second.expert("high").start
    assert start is not None
    started = first.expert("high").start
    assert started is not None
    assert start == started.model_copy(update={"kept_by": first.name})
    for name in (second.name, _with_fewer_frames(home, ended).name):
        copy = RunKeys(GUILD, name).initial_weights("high", start.sha256)
        assert home.local.runtime.store.exists(copy)
    home.local.runs.cancel(GUILD, second.name, by="7")
    home.finish(second.name)


def _with_fewer_frames(home: Home, old: Run) -> RunSpec:
    """Return a spec that starts again, with its experts' starting points in place."""
    report = home.local.runtime.report(old.spec)
    model = find_model(old.spec.model)
    found = with_suggestion(rest_of(old), FewerFrames(max_frames=13), report, model)
    assert found.continues is None
    spec = found.model_copy(update={"name": "fewer-frames"})
    home.local.runs.initial_weights.keep(spec)
    return spec


def test_a_file_changed_on_disk_is_refused_as_a_start(home: Home, tmp_path: Path) -> None:
    stored(home, tmp_path, "high")
    spec = draft(home, request("high=high"))
    file = home.local.loras.file(GUILD, "high")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")

    with pytest.raises((RequestError, AdapterError), match="missing or damaged"):
        home.local.runs.initial_weights.keep(spec)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_continuing_run_takes_the_stored_file_if_the_first_runs_copy_is_damaged(
    home: Home, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    source = stored(home, tmp_path, "high")
    first = draft(home, request("high=high", expert="high")).model_copy(update={"name": "first"})
    home.local.runs.initial_weights.keep(first)
    start = first.expert("high").start
    assert start is not None
    copy = home.local.runtime.store.path(first.keys.initial_weights("high", start.sha256))
    data = copy.read_bytes()
    copy.unlink()  # it shares its bytes with the stored file
    copy.write_bytes(data)
    damage(copy)
    kept = start.model_copy(update={"kept_by": "first"})
    experts = (first.expert("high").model_copy(update={"start": kept}),)
    second = first.model_copy(update={"name": "second", "experts": experts})

    home.local.runs.initial_weights.keep(second)

    found = home.local.runtime.store.path(second.keys.initial_weights("high", start.sha256))
    assert found.read_bytes() == source.read_bytes()
