"""Cache files are made once per content, and training reads only them."""

import threading

import psutil
import pytest

from tests.media import guide_files, mp4, png
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training.operations.run_drafts import Requester
from training.pipeline.run_view import metrics
from training.pipeline.stages.cache_making import is_complete
from training.registry.dataset_edits import DatasetEdits
from training.rehearsal.data.datasets import read_datasets
from training.rehearsal.data.items import TrainingItems
from training.runs.spec import RunSpec
from training.runs.state import StageStatus
from training.vocabulary import StageKey

CACHE, TRAIN = StageKey("cache"), StageKey("train", "main")
# An image, and a clip of 49 frames: one frame, 21 frames and two windows of 45.
FILES = guide_files(images=1, clips=1)
NOTHING = {"latents": 0, "texts": 0}
A_CLIP = {"latents": 4, "texts": 1}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """One home for all tests; each adds other files to the dataset."""
    return Stages(tmp_path_factory.mktemp("caches"))


@pytest.fixture(scope="module")
def first(stages: Stages) -> RunSpec:
    """Return a run whose caches are made."""
    stages.upload(FILES)
    spec = stages.start()
    assert stages.cache(spec) == {"latents": 5, "texts": 2}
    return spec


def clip(name: str, seed: int) -> dict[str, bytes | str]:
    return {
        f"videos/{name}.mp4": mp4(49, width=320, height=192, seed=seed),
        f"videos/{name}.txt": f"ann1ka, take {seed}",
    }


def items(stages: Stages, spec: RunSpec) -> int:
    """Return how many items a trainer finds in the run's folders."""
    path = stages.local.runtime.planner(spec).dataset_config
    return TrainingItems(read_datasets(path), seed=1, image=False, clip=False).count


def test_a_second_run_makes_nothing_and_trains_the_same_items(
    stages: Stages, first: RunSpec
) -> None:
    stages.upload(FILES)
    second = stages.start()

    assert stages.cache(second) == NOTHING
    assert stages.state(second, CACHE).reused
    assert items(stages, first) == items(stages, second) == first.steps_per_epoch
    assert stages.receipt(first)["files"] == stages.receipt(second)["files"]


@pytest.mark.usefixtures("first")
def test_a_changed_caption_makes_one_text_file(stages: Stages) -> None:
    stages.upload({**FILES, "videos/001.txt": "ann1ka sits down"})
    before = stages.stored("latents"), stages.stored("texts")

    assert stages.cache(stages.start()) == {"latents": 0, "texts": 1}

    assert stages.stored("latents") == before[0]
    assert len(stages.stored("texts")) == len(before[1]) + 1


@pytest.mark.usefixtures("first")
def test_a_renamed_clip_makes_no_cache_file(stages: Stages) -> None:
    stages.upload({name.replace("001", "walk"): data for name, data in FILES.items()})
    spec = stages.start()

    assert stages.cache(spec) == NOTHING
    assert items(stages, spec) == spec.steps_per_epoch
    names = {path.name for path in stages.folder(spec).glob("clips-*/*")}
    assert names
    assert all(name.startswith("walk_") for name in names)


@pytest.mark.usefixtures("first")
def test_an_added_clip_makes_only_its_own_files_and_duplicates_make_none(
    stages: Stages,
) -> None:
    once = clip("003", 3)
    twice = {"videos/004.mp4": once["videos/003.mp4"], "videos/004.txt": "the same again"}
    stages.upload({**FILES, **once, **twice})
    spec = stages.start()

    assert stages.cache(spec) == {"latents": 4, "texts": 2}
    assert items(stages, spec) == spec.steps_per_epoch


@pytest.mark.usefixtures("first")
def test_models_share_the_files_of_equal_encoders(stages: Stages) -> None:
    stages.upload(FILES)

    made = {
        model: stages.cache(stages.start(model))
        for model in (
            *("wan21-t2v-14b", "wan22-t2v-vanilla"),
            *("wan22-i2v-vanilla", "wan21-i2v-720p"),
        )
    }

    assert made == {
        "wan21-t2v-14b": {"latents": 5, "texts": 0},  # larger than for 1.3B
        "wan22-t2v-vanilla": NOTHING,
        "wan22-i2v-vanilla": {"latents": 5, "texts": 0},  # with the first frame
        "wan21-i2v-720p": {"latents": 5, "texts": 0},  # and with its CLIP tokens
    }


def test_a_foreign_file_is_not_trained(stages: Stages, first: RunSpec) -> None:
    group = stages.folder(first) / "clips-head"
    latents = next(group.glob("*_wan.safetensors"))
    texts = next(group.glob("*_wan_te.safetensors"))
    for path in (latents, texts):
        (group / f"foreign{path.name.removeprefix('001')}").write_bytes(path.read_bytes())
    assert items(stages, first) == first.steps_per_epoch + 1

    assert stages.run(first, TRAIN) is StageStatus.SUCCEEDED

    assert not list(group.glob("foreign*"))
    assert len(metrics(stages.local.runtime, first, "main")) == first.steps_per_epoch


def test_a_run_whose_caches_are_damaged_does_not_train(stages: Stages, first: RunSpec) -> None:
    stages.upload(FILES)
    spec = stages.start()
    stages.cache(spec)
    next(stages.folder(first).glob("clips-head/*_wan.safetensors")).write_bytes(b"cut off")

    assert stages.run(spec, TRAIN) is StageStatus.FAILED

    state = stages.state(spec, TRAIN)
    assert "is missing or damaged" in state.cause
    stages.upload(FILES)
    assert stages.cache(stages.start()) == {"latents": 1, "texts": 0}
    assert all(is_complete(path) for path in stages.stored("latents"))


@pytest.mark.slow
def test_rebuilt_caches_share_no_file_with_the_damaged_ones(stages: Stages) -> None:
    stages.upload(clip("007", 7))
    without_first_frames = stages.start("wan21-t2v-14b")
    stages.cache(without_first_frames)
    failed = stages.start("wan21-i2v-720p")
    stages.cache(failed)
    wrong = stages.folder(without_first_frames)
    for path in stages.folder(failed).glob("*/*_wan.safetensors"):
        path.resolve().write_bytes((wrong / path.parent.name / path.name).read_bytes())
    assert stages.run(failed, TRAIN) is StageStatus.FAILED

    again = stages.local.runs.try_again(failed.name, Requester(guild=GUILD, by="7"))

    assert stages.cache(stages.make_ready(again)) == A_CLIP
    assert stages.run(again, TRAIN) is StageStatus.SUCCEEDED


OWN = """
[[datasets]]
video_directory = "/mine"
resolution = [320, 192]
frame_extraction = "{mode}"
{keys}
"""


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(
    ("mode", "keys", "seed"),
    [
        ("head", "target_frames = [5, 9]", 9),
        pytest.param("chunk", "target_frames = [9, 21]", 10, marks=pytest.mark.slow),
        pytest.param("slide", "target_frames = [21]\nframe_stride = 8", 11, marks=pytest.mark.slow),
        ("uniform", "target_frames = [21]\nframe_sample = 4", 12),
        pytest.param("full", "max_frames = 33", 13, marks=pytest.mark.slow),
    ],
)
def test_with_a_users_toml_an_added_clip_caches_only_its_own_items(
    stages: Stages, mode: str, keys: str, seed: int
) -> None:
    own = OWN.format(mode=mode, keys=keys)
    stages.upload(clip("008", 8))
    one = stages.start(dataset_toml=own)
    stages.cache(one)
    stages.upload({**clip("008", 8), **clip("009", seed)})
    two = stages.start(dataset_toml=own)

    made = stages.cache(two)["latents"]

    assert made == items(stages, two) - items(stages, one) == items(stages, one)
    assert items(stages, two) == two.steps_per_epoch


@pytest.mark.usefixtures("first")
def test_uploaded_clips_of_several_frame_rates_are_cached_by_content(
    stages: Stages,
) -> None:
    rates = {"videos/a.mp4": mp4(75, fps=24, seed=14), "videos/b.mp4": mp4(93, fps=30, seed=14)}
    captions = {name.replace("mp4", "txt"): "ann1ka" for name in (*rates, "videos/c.mp4")}
    made: list[int] = []
    for more in ({}, {"videos/c.mp4": mp4(75, fps=24, seed=15)}):
        stages.upload({**rates, **more, **captions})
        DatasetEdits(stages.local.datasets).choose_media(GUILD, "annika", "original", by="7")
        spec = stages.start()
        made.append(stages.cache(spec)["latents"])
        assert items(stages, spec) == spec.steps_per_epoch

    groups = {path.name for path in stages.folder(spec).iterdir()}
    assert {"clips-head-24fps", "clips-head-30fps"} <= groups
    assert made == [8, 4]


@pytest.mark.usefixtures("first")
def test_runs_that_cache_at_once_make_nothing_twice(stages: Stages) -> None:
    stages.upload({**FILES, **clip("005", 5)})
    runs = [stages.start(), stages.start()]
    threads = [threading.Thread(target=stages.cache, args=(run,)) for run in runs]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    made = [stages.receipt(run)["made"] for run in runs]
    for kind, count in A_CLIP.items():
        assert sorted(one[kind] for one in made) == [0, count]


@pytest.mark.usefixtures("first")
def test_cache_files_of_a_killed_attempt_are_kept(stages: Stages) -> None:
    images = {f"images/{n:03d}.png": png(seed=100 + n) for n in range(10)}
    captions = {name.replace("png", "txt"): "ann1ka" for name in images}
    stages.upload({**images, **captions, **clip("006", 6)})
    spec = stages.start()
    making = stages.local.runtime.store.path(spec.keys.caching("latents"))

    process = stages.start_process(spec, CACHE)
    encoders: list[psutil.Process] = []
    while len(list(making.glob("cache/images/*.safetensors"))) < 2:
        assert process.poll() is None, "caching ended before it could be killed"
        encoders = encoders or psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    psutil.wait_procs(encoders)
    cut_off, *whole = making.glob("cache/images/*.safetensors")
    cut_off.write_bytes(cut_off.read_bytes()[:-1])  # as musubi leaves a file that it was writing
    kept = {path.stat().st_ino for path in whole}
    stages.bury(spec, CACHE)

    assert stages.cache(spec)["latents"] == len(images) + 4

    assert len(kept) < len(images)
    assert kept <= {path.stat().st_ino for path in stages.stored("latents")}
    assert items(stages, spec) == spec.steps_per_epoch
    assert not making.exists()
