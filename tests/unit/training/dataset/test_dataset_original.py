"""A set used as it was uploaded: the same bytes, a folder for each frame rate, frames dropped."""

import hashlib
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.media import encode_clip, jpeg, pan, png, write_zip
from tests.unit.training.dataset.samples import clip, image, report
from training.dataset.config.guide_groups import plan_groups
from training.dataset.config.toml_file import render_toml
from training.dataset.inspect import inspect_zip
from training.dataset.original import as_original, why_not_original
from training.dataset.repair import repair, verify_manifest
from training.dataset.report import Finding, Report
from training.errors import DatasetError


def made(frames: int, fps: int, seed: int) -> bytes:
    return encode_clip(list(pan(frames, 832, 480, seed=seed)), fps=fps)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips at 24 fps, one at 30, one at 16, and images of two types, with unwieldy names."""
    files: dict[str, bytes | str] = {
        "My set/im 1.PNG": png(512, 480, seed=1),
        "My set/im 2.JPG": jpeg(512, 480, seed=2),
        "My set/walk.mp4": made(75, 24, 3),
        "My set/run.mp4": made(30, 24, 4),
        "My set/sit.MP4": made(90, 30, 5),
        "My set/eat.mp4": made(21, 16, 6),
    }
    captions = {f"{Path(name).with_suffix('.txt')}": f"ann1ka {name}" for name in files}
    return write_zip(tmp_path_factory.mktemp("original") / "a.zip", {**files, **captions})


@pytest.fixture(scope="module")
def inspected(archive: Path) -> Report:
    return inspect_zip(archive)


def found(code: str) -> Finding:
    return Finding(
        code=code, severity="info", file="a.mp4", cause="C.", fix="Repaired.", repaired=True,
        files=("a.mp4",),
    )  # fmt: skip


def test_clips_lie_in_a_folder_for_each_rate_with_the_frames_that_are_left(
    inspected: Report,
) -> None:
    original = as_original(inspected)

    assert [(s.name, s.stored_fps, s.frames_16fps) for s in original.samples] == [
        ("images/im-1.png", 16.0, None),
        ("images/im-2.jpg", 16.0, None),
        ("videos-16fps/eat.mp4", 16.0, 21),
        ("videos-24fps/run.mp4", 24.0, 20),
        ("videos-24fps/walk.mp4", 24.0, 50),
        ("videos-30fps/sit.mp4", 30.0, 48),
    ]


def test_each_rate_is_a_group_of_its_own_with_the_rate_as_a_float(inspected: Report) -> None:
    plan = plan_groups(as_original(inspected))

    text = render_toml(plan, media=PurePosixPath("/m"), caches=PurePosixPath("/c"))
    written = tomllib.loads(text)["datasets"]
    assert [(PurePosixPath(d["cache_directory"]).name, d.get("source_fps")) for d in written] == [
        ("images", None),
        ("clips-head-16fps", 16.0),
        ("clips-head-24fps", 24.0), ("clips-full-24fps", 24.0), ("clips-uniform-24fps", 24.0),
        ("clips-head-30fps", 30.0), ("clips-uniform-30fps", 30.0),
    ]  # fmt: skip
    assert "source_fps = 24.0" in text
    assert {d["video_directory"] for d in written[1:]} == {
        "/m/videos-16fps", "/m/videos-24fps", "/m/videos-30fps",
    }  # fmt: skip


def test_clips_of_a_single_rate_stay_in_one_folder() -> None:
    inspected = report(clip(48, "a").model_copy(update={"fps": 23.976}))

    (kept,) = as_original(inspected).samples

    assert (kept.name, kept.stored_fps) == ("videos/a.mp4", 23.976)


def test_rates_that_are_almost_the_same_are_kept_apart() -> None:
    film, video = (
        clip(48, name).model_copy(update={"fps": fps}) for name, fps in (("a", 23.976), ("b", 24.0))
    )

    kept = as_original(report(film, video)).samples

    assert [sample.name for sample in kept] == ["videos-23.976fps/a.mp4", "videos-24fps/b.mp4"]


@pytest.mark.parametrize(
    ("mean", "rate"), [(29.966, 29.97), (23.99, 24.0), (16.04, 16.0), (37.123, 37.12)]
)
def test_rates_are_the_nominal_ones(mean: float, rate: float) -> None:
    (kept,) = as_original(report(clip(48).model_copy(update={"fps": mean}))).samples

    assert kept.stored_fps == rate


def test_the_media_keep_their_bytes(archive: Path, inspected: Report, tmp_path: Path) -> None:
    original = as_original(inspected)

    repair(archive, original, tmp_path / "set")

    with zipfile.ZipFile(archive) as opened:
        for sample in original.samples:
            stored = (tmp_path / "set" / sample.name).read_bytes()
            assert stored == opened.read(sample.source)
            assert hashlib.sha256(stored).hexdigest() == sample.sha256
            caption = (tmp_path / "set" / sample.name).with_suffix(".txt")
            assert caption.read_text("utf-8").strip() == sample.caption
    assert verify_manifest(tmp_path / "set").version == original.version


def test_a_stray_file_beside_clips_of_another_rate_is_noticed(
    archive: Path, inspected: Report, tmp_path: Path
) -> None:
    repair(archive, as_original(inspected), tmp_path / "set")
    (tmp_path / "set/videos-24fps/stray.mp4").write_bytes(b"x")

    with pytest.raises(DatasetError, match="is not part of it"):
        verify_manifest(tmp_path / "set")


def test_a_set_used_as_uploaded_is_another_version_without_repairs(inspected: Report) -> None:
    original = as_original(inspected)

    assert original.version != inspected.version
    assert (original.media, as_original(original)) == ("original", original)
    repaired = {finding.code for finding in original.findings if finding.repaired}
    assert {"renamed"} <= repaired
    assert "fps-not-16" not in repaired
    (rate,) = [finding for finding in original.findings if finding.code == "fps-not-16"]
    assert "Converted" not in rate.fix


@pytest.mark.parametrize(
    "code",
    ["rotated", "non-square-pixels", "variable-fps", "low-fps", "wrong-extension",
     "converted-type", "alpha-channel", "opaque-alpha", "interlaced", "sixteen-bit",
     "colour-profile", "several-streams"],
)  # fmt: skip
def test_files_that_the_trainer_would_misread_must_be_repaired(code: str) -> None:
    inspected = report(clip(48)).model_copy(update={"findings": (found(code),)})

    assert "a.mp4" in (why_not_original(inspected) or "")
    with pytest.raises(DatasetError, match=r"a\.mp4"):
        as_original(inspected)


def test_wide_colours_are_still_converted_because_the_trainer_reads_clips_by_their_tags() -> None:
    inspected = report(clip(48)).model_copy(update={"findings": (found("wide-colours"),)})

    (kept,) = as_original(inspected).findings

    assert kept.repaired
    assert kept.fix == "Repaired."


def test_a_set_with_errors_cannot_be_used_as_uploaded() -> None:
    error = found("corrupt-clip").model_copy(update={"severity": "error"})

    assert why_not_original(report(clip(48)).model_copy(update={"findings": (error,)})) == "C."
    assert why_not_original(report(clip(48), image())) is None
