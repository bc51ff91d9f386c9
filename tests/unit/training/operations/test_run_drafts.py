"""From a request to a spec: limits on frames and resolution, a TOML, and the GPU's memory."""

from pathlib import Path
from typing import Any

import pytest

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from storage.local.store import FolderStore
from tests.media import encode_clip, pan, png, write_zip
from tests.unit.training.dataset.samples import clip, image, report
from training.catalogue.models import MODELS, find_model
from training.dataset.inspect import inspect_zip
from training.dataset.original import as_original
from training.dataset.report import Finding, FoundConfig, Report
from training.errors import DatasetError, NotFoundError, RequestError
from training.estimates.steps_per_model import predictions, suited
from training.operations.run_drafts import Requester, draft_spec
from training.registry.dataset_draft import Upload
from training.registry.dataset_edits import DatasetEdits
from training.registry.datasets import Datasets
from training.runs.hyperparameters import ITEM_NAMES, ItemSettings
from training.runs.spec import DatasetRef, RunSpec, TrainRequest
from training.runs.training_items import LARGEST_BYTES, cut_run, read_config, remarks
from training.vocabulary import EngineName

MODEL = "wan21-i2v-720p"
SET = report(image(), clip(81))
IMAGES_AND_LONG = (
    '[general]\nenable_bucket = true\ncaption_extension = ".txt"\n'
    '[[datasets]]\nimage_directory = "i"\n'
    '[[datasets]]\nvideo_directory = "v"\ntarget_frames = [161]\n'
)
OWN = '[[datasets]]\nvideo_directory = "v"\nenable_bucket = true\ntarget_frames = [9]\n'


def drafted(
    of: Report = SET,
    default_gpu: str | None = None,
    engine: EngineName = "rehearsal",
    **wishes: Any,
) -> RunSpec:
    names = ("preset", *ITEM_NAMES)
    settings = {name: str(wishes.pop(name)) for name in names if name in wishes}
    request = TrainRequest(model=MODEL, dataset="annika", settings=settings, **wishes)
    ref, origin = (
        DatasetRef(name="annika", number=1, version=of.version),
        Requester(guild="1", by="7"),
    )
    model = find_model(MODEL)
    return draft_spec(request, origin, engine, model, (ref, of), default_gpu=default_gpu)


def with_configs(*texts: str) -> Report:
    configs = tuple(FoundConfig(file=f"{n}.toml", text=text) for n, text in enumerate(texts))
    return SET.model_copy(update={"configs": configs})


def test_requested_limits_are_kept_in_the_spec_and_decide_the_steps() -> None:
    plain, short = drafted(), drafted(max_frames=21, resolution="480p")

    assert (plain.items, plain.dataset_toml) == (ItemSettings(), None)
    assert (plain.steps_per_epoch, short.steps_per_epoch) == (5, 3)
    groups = cut_run(SET, short, find_model(MODEL)).groups
    assert [group.resolution for group in groups] == [(480, 832), (832, 480)]


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"max_frames": 0}, "max-frames cannot be '0'"),
        ({"max_frames": 130}, "max-frames cannot be '130'"),
        ({"resolution": "1080p"}, "one of 480p, 720p"),
        ({"max_frames": 1}, "single frame"),
        ({"dataset_toml": OWN, "max_frames": 9}, "cannot be combined"),
        ({"dataset_toml": OWN, "resolution": "480p"}, "cannot be combined"),
        ({"dataset_toml": OWN, "items": "clips"}, "items cannot be combined"),
        ({"items": "images"}, "one of all, clips"),
        ({"dataset_toml": OWN.replace("[9]", "[1]")}, "single frame"),
        ({"dataset_toml": IMAGES_AND_LONG}, "no clip is as long"),
        ({"dataset_toml": OWN.replace("[9]", "9")}, "target_frames cannot be 9"),
        ({"dataset_config": "from-zip"}, "no dataset TOML"),
    ],
)
def test_impossible_requests_are_refused(wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError) as raised:
        drafted(**wishes)

    assert says in f"{raised.value.cause} {raised.value.fix}"


def test_items_clips_leaves_single_frames_out_as_the_preset_does() -> None:
    clips = drafted(items="clips")

    assert clips.items.items == "clips"
    assert all(item.frames > 1 for item in cut_run(SET, clips, find_model(MODEL)).items)
    assert clips.steps_per_epoch < drafted().steps_per_epoch
    reference = drafted(preset="reference")
    assert (reference.preset, reference.items.items) == ("reference", "clips")
    assert reference.steps_per_epoch == clips.steps_per_epoch
    assert drafted(preset="reference", dataset_toml=OWN).items == ItemSettings()


def test_a_toml_in_the_zip_is_used_only_on_request() -> None:
    found = with_configs(OWN)

    assert drafted(found).dataset_toml is None
    assert drafted(found, dataset_config="from-zip").dataset_toml == OWN
    with pytest.raises(RequestError, match=r"more than one.*0\.toml, 1\.toml"):
        drafted(with_configs(OWN, OWN), dataset_config="from-zip")
    with pytest.raises(RequestError, match="cannot both"):
        drafted(found, dataset_config="from-zip", dataset_toml=OWN)


def test_remarks_are_about_the_toml_of_the_run() -> None:
    assert remarks(None, SET) == ()
    assert "toml-source-fps" in [f.code for f in remarks(OWN, SET)]


def test_items_too_large_for_a_known_gpu_are_refused() -> None:
    with pytest.raises(RequestError, match="unmeasured, rough"):
        drafted(default_gpu="L4")

    assert drafted(default_gpu="H100").steps_per_epoch == 5
    assert drafted(default_gpu=None).steps_per_epoch == 5


def test_the_chosen_gpu_must_hold_the_groups() -> None:
    with pytest.raises(RequestError, match="an L4 has 22 GiB"):
        drafted(gpu="l4", default_gpu="H100", engine="musubi")

    assert drafted(gpu="h100", default_gpu="L4", engine="musubi").gpu == "H100"
    assert drafted(default_gpu="H100", engine="musubi").gpu is None


def test_a_rehearsal_may_choose_a_gpu_that_would_be_too_small() -> None:
    assert drafted(gpu="L4").gpu == "L4"


@pytest.mark.parametrize("engine", ["musubi", "rehearsal"])
def test_an_unknown_gpu_is_refused_for_every_engine(engine: EngineName) -> None:
    with pytest.raises(NotFoundError, match=r"no GPU called 'GTX'.*B200, H200, H100"):
        drafted(gpu="GTX", engine=engine)


def test_a_machine_with_a_known_gpu_refuses_others(tmp_path: Path) -> None:
    local = LocalInstallation(Settings(home=tmp_path, gpu="H100"))
    ref, origin = (
        DatasetRef(name="annika", number=1, version=SET.version),
        Requester(guild="1", by="7"),
    )

    def draft(gpu: str, engine: EngineName) -> RunSpec:
        request = TrainRequest(model="wan21-i2v-720p", dataset="annika", gpu=gpu)
        return local.runs.draft(request, origin, engine, (ref, SET))

    with pytest.raises(RequestError, match="has an H100, so a run cannot use an H200"):
        draft("H200", "musubi")
    assert draft("h100", "musubi").gpu == "H100"
    assert draft("H200", "rehearsal").gpu == "H200"


@pytest.mark.parametrize("content", [b"#" * (LARGEST_BYTES + 1), b"\xff\xfe\x00"])
def test_a_toml_that_is_large_or_not_text_is_refused(content: bytes) -> None:
    with pytest.raises(RequestError, match=r"a\.toml"):
        read_config("a.toml", content)


def test_predictions_add_up_for_each_model() -> None:
    found = predictions(SET)

    assert set(found) == {model.name for model in MODELS}
    for predicted in found.values():
        assert predicted.items == predicted.steps_per_epoch == 5
        assert sum(bucket.items for bucket in predicted.buckets) == 5
    largest = max(b.width * b.height for b in found["wan21-i2v-480p"].buckets)
    assert largest <= 832 * 480 < max(b.width * b.height for b in found["wan21-i2v-720p"].buckets)


def test_each_model_has_a_reason_why_a_set_does_not_suit_it() -> None:
    of_images = suited(report(image()))
    error = Finding(code="x", severity="error", file=None, cause="Bad.", fix="F.", repaired=False)

    assert of_images["wan22-t2v-lightning"] is None
    assert "only images" in (of_images["wan22-i2v-lightning"] or "")
    assert set(suited(SET).values()) == {None}
    assert set(suited(SET.model_copy(update={"findings": (error,)})).values()) == {"Bad."}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {
        "a.png": png(512, 480, seed=1), "a.txt": "ann1ka, a",
        "b.mp4": encode_clip(list(pan(30, 832, 480, seed=2)), fps=24), "b.txt": "ann1ka, b",
        "my.toml": OWN,
        "other.toml": "[tool]\nx = 1",
    }  # fmt: skip
    return write_zip(tmp_path_factory.mktemp("draft") / "a.zip", files)


def test_a_dataset_toml_in_a_zip_is_found_and_offered(archive: Path) -> None:
    found = inspect_zip(archive)

    assert found.configs == (FoundConfig(file="my.toml", text=OWN),)
    (offer,) = [finding for finding in found.findings if finding.code == "toml-found"]
    assert (offer.file, offer.severity) == ("my.toml", "info")
    assert "dataset-config to from-zip" in offer.fix
    assert [f.file for f in found.findings if f.code == "toml-unused"] == ["other.toml"]


def test_an_upload_can_switch_between_uploaded_and_repaired_files(
    archive: Path, tmp_path: Path
) -> None:
    datasets = Datasets(FolderStore(tmp_path))
    edits = DatasetEdits(datasets)
    upload = Upload(archive=archive, by="7", file_name="a.zip")
    first, repaired = datasets.add("1", "annika", upload)

    second = edits.choose_media("1", "annika", "original", by="8")
    again = edits.choose_media("1", "annika", "original", by="8")
    third = edits.choose_media("1", "annika@2", "repaired", by="8")

    assert [str(v.ref) for v in (first, second, again, third)] == [
        "annika@1", "annika@2", "annika@2", "annika@3",
    ]  # fmt: skip
    original = as_original(repaired)
    assert (second.ref.media, second.version) == ("original", original.version)
    assert datasets.report("1", second) == original != repaired
    assert (third.version, datasets.report("1", third)) == (first.version, repaired)


def test_an_upload_that_must_be_repaired_stays_as_it_was(tmp_path: Path) -> None:
    slow = {"b.mp4": encode_clip(list(pan(30, 832, 480, seed=2)), fps=12), "b.txt": "ann1ka"}
    datasets = Datasets(FolderStore(tmp_path / "home"))
    path = write_zip(tmp_path / "a.zip", slow)
    datasets.add("1", "annika", Upload(archive=path, by="7", file_name="a.zip"))

    with pytest.raises(DatasetError, match="play too fast"):
        DatasetEdits(datasets).choose_media("1", "annika", "original", by="7")

    assert [version.number for version in datasets.versions("1", "annika")] == [1]
