"""Files that are made from others are checked before use, and damaged ones are made again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.local.run_index import SqliteRunIndex
from tests.damage import DAMAGE, cut_off, empty, flip_a_bit, remove
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training import store_keys
from training.files.safetensors_header import read_header
from training.operations.run_drafts import Requester
from training.operations.runs import Runs
from training.pipeline.run_view import RunSummary
from training.remedies import ResumeRun
from training.runs.spec import RunSpec, TrainRequest
from training.runs.state import StageStatus
from training.vocabulary import StageKey

PAIR, SINGLE = "wan22-t2v-lightning", "wan21-t2v-1-3b"
PREPARE, FETCH, CACHE = StageKey("prepare"), StageKey("fetch"), StageKey("cache")
MERGE, TRAIN = StageKey("merge", "high"), StageKey("train", "high")
REQUESTER = Requester(guild=GUILD, by="7")
any_damage = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """One home for all tests, with caches and the merged base of the high expert."""
    stages = Stages(tmp_path_factory.mktemp("derived"))
    stages.upload(guide_files(images=2, clips=0))
    spec = stages.start(PAIR)
    assert stages.run(spec, MERGE) is StageStatus.SUCCEEDED
    stages.cache(spec)
    return stages


def again(stages: Stages, *keys: StageKey) -> tuple[RunSpec, list[bool]]:
    """Run stages of another run, and return which of them found their results."""
    spec = stages.begin(PAIR)
    for key in keys:
        assert stages.run(spec, key) is StageStatus.SUCCEEDED, stages.state(spec, key).cause
    return spec, [stages.state(spec, key).reused for key in keys]


def one(stages: Stages, pattern: str) -> Path:
    return min(stages.local.home.glob(pattern))


PREPARED = f"guilds/{GUILD}/prepared/*/images/*.png"
WEIGHT = "models/**/*.safetensors"
MERGED = "merged/*/*.safetensors"


@any_damage
@pytest.mark.parametrize(
    ("pattern", "keys", "reused"),
    [
        (PREPARED, (PREPARE,), [False]),
        (f"guilds/{GUILD}/prepared/*/{store_keys.MANIFEST}", (PREPARE,), [False]),
        (WEIGHT, (PREPARE, FETCH), [True, False]),
        (f"{WEIGHT}.receipt.json", (PREPARE, FETCH), [True, False]),
        (MERGED, (PREPARE, FETCH, MERGE), [True, True, False]),
        ("merged/*/receipt.json", (PREPARE, FETCH, MERGE), [True, True, False]),
    ],
)
def test_a_damaged_file_is_made_again(
    stages: Stages,
    damage: Damage,
    pattern: str,
    keys: tuple[StageKey, ...],
    reused: list[bool],
) -> None:
    file = one(stages, pattern)
    whole = file.read_bytes()
    damage(file)

    _, found = again(stages, *keys)

    assert found == reused
    assert facts(file.read_bytes()) == facts(whole)
    assert again(stages, *keys)[1] == [True] * len(keys)


def facts(data: bytes) -> object:
    """Return the content of a file, without how long it took to make."""
    try:
        found = json.loads(data)
    except ValueError:
        return data
    return {name: value for name, value in found.items() if name != "seconds"}


def test_a_foreign_file_in_a_repaired_dataset_is_removed(stages: Stages) -> None:
    foreign = one(stages, PREPARED).with_name("foreign.png")
    foreign.write_bytes(b"not of this dataset")

    assert again(stages, PREPARE)[1] == [False]

    assert not foreign.exists()


@any_damage
@pytest.mark.parametrize("kind", ["latents", "texts"])
def test_only_the_damaged_cache_file_is_made_again(
    stages: Stages, damage: Damage, kind: store_keys.CacheKind
) -> None:
    file = stages.stored(kind)[0]
    whole = file.read_bytes()
    damage(file)
    spec, _ = again(stages, PREPARE, FETCH)

    made = stages.cache(spec)

    assert made == {"latents": 0, "texts": 0, kind: 1}
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    ("pattern", "damage", "named"),
    [
        (MERGED, flip_a_bit, "-merged.safetensors is missing or damaged"),
        ("merged/*/receipt.json", empty, "is missing or damaged"),
        (f"guilds/{GUILD}/caches/latents/*/*.safetensors", flip_a_bit, "The cache file images/"),
        (f"guilds/{GUILD}/runs/{{run}}/receipts/cache.json", cut_off, "list of the run's cache"),
    ],
)
def test_nothing_trains_on_files_that_were_damaged_after_their_stage(
    stages: Stages, pattern: str, damage: Damage, named: str
) -> None:
    spec, _ = again(stages, PREPARE, FETCH, MERGE, CACHE)
    file = one(stages, pattern.format(run=spec.name))
    damage(file)

    assert stages.run(spec, TRAIN) is StageStatus.FAILED

    state = stages.state(spec, TRAIN)
    assert named in state.cause
    assert not list(stages.local.runtime.store.path(spec.keys.checkpoints("high")).glob("*"))
    again(stages, PREPARE, FETCH, MERGE, CACHE)


def test_damaged_checkpoints_before_the_last_are_left_out_and_named(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=1, clips=0))
    settings = {"epochs": "4", "save_every": "1"}
    request = TrainRequest(model=SINGLE, dataset="annika", settings=settings)
    spec = stages.make_ready(stages.local.runs.start(request, REQUESTER, "rehearsal"))
    stages.cache(spec)
    config = stages.local.runtime.store.path(spec.keys.dataset_config)
    toml = config.read_bytes()
    config.write_bytes(b"[[datasets")
    assert stages.run(spec, StageKey("train", "main")) is StageStatus.SUCCEEDED, stages.cause(spec)
    folder = stages.local.runtime.store.path(spec.keys.checkpoints("main"))
    early = sorted(folder.glob("*-0*.safetensors"))
    for file, damage in zip(early, DAMAGE.values(), strict=True):
        damage(file)

    publish = StageKey("publish", "main")
    assert stages.run(spec, publish) is StageStatus.SUCCEEDED, stages.cause(spec)

    named = ", ".join(file.name for file in early)
    note = stages.state(spec, publish).note
    assert note.startswith("1 checkpoint, ")
    assert note.endswith(f" modules load; damaged: {named}")
    assert config.read_bytes() == toml


def test_a_damaged_last_checkpoint_is_made_again_by_the_resumed_run(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=1, clips=0))
    spec = stages.start(SINGLE)
    stages.cache(spec)
    train, publish = StageKey("train", "main"), StageKey("publish", "main")
    assert stages.run(spec, train) is StageStatus.SUCCEEDED, stages.cause(spec)
    file = last_checkpoint(stages, spec)
    whole = tensors(file)
    flip_a_bit(file)

    assert stages.run(spec, publish) is StageStatus.FAILED
    state = stages.state(spec, publish)
    resumed = stages.make_ready(stages.local.runs.resume(spec.name, REQUESTER))
    stages.cache(resumed)
    for key in (train, publish):
        assert stages.run(resumed, key) is StageStatus.SUCCEEDED, stages.cause(resumed)

    assert f"{file.name} was damaged after it was saved" in state.cause
    assert isinstance(state.remedy, ResumeRun)
    assert tensors(last_checkpoint(stages, resumed)) == whole


def last_checkpoint(stages: Stages, spec: RunSpec) -> Path:
    (file,) = stages.local.runtime.store.path(spec.keys.checkpoints("main")).glob("*.safetensors")
    return file


def tensors(file: Path) -> bytes:
    """Return a checkpoint without its header, which names the run."""
    return file.read_bytes()[len(read_header(file).raw) :]


def test_a_run_uses_the_report_of_its_dataset_if_its_own_is_damaged(stages: Stages) -> None:
    spec = stages.begin(PAIR)
    runtime = stages.local.runtime
    whole = runtime.report(spec)
    runtime.store.write(spec.keys.report, b"{")

    assert runtime.report(spec) == whole
    assert stages.run(spec, PREPARE) is StageStatus.SUCCEEDED


@pytest.mark.parametrize("damage", [remove, cut_off, empty])
def test_a_damaged_summary_of_an_ended_run_is_made_again(
    stages: Stages, tmp_path: Path, damage: Damage
) -> None:
    spec = stages.begin(PAIR)
    stages.local.runs.cancel(GUILD, spec.name, by="7")

    def listed(index: str) -> RunSummary:
        runs = Runs(stages.local.runtime, SqliteRunIndex(tmp_path / index))
        return next(run for run in runs.summaries(GUILD) if run.name == spec.name)

    whole = listed("before.sqlite")
    damage(stages.local.runtime.store.path(spec.keys.ended))

    assert listed("after.sqlite") == whole


def test_without_the_zip_a_damaged_repaired_dataset_is_named(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=1, clips=0))
    spec = stages.begin()
    assert stages.run(spec, PREPARE) is StageStatus.SUCCEEDED
    other = stages.begin()
    flip_a_bit(one(stages, PREPARED))
    one(stages, f"guilds/{GUILD}/datasets/annika/1/{store_keys.ORIGINAL}").unlink()

    assert stages.run(other, PREPARE) is StageStatus.FAILED

    assert "The zip of the dataset annika@1 was removed" in stages.state(other, PREPARE).cause
