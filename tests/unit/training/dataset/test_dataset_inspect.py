"""A zip becomes a report: samples with their version, and findings about single files and sets."""

import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests import media
from tests.media import ClipFormat, encode_clip, pan
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.report import Finding, Report

Files = Mapping[str, bytes | str]


@pytest.fixture(scope="module")
def guide() -> Files:
    return media.guide_files(images=3, clips=2, frames=21, width=832, height=480)


def inspect(tmp_path: Path, files: Files, **options: object) -> Report:
    trigger = options.get("trigger")
    path = media.write_zip(tmp_path / "set.zip", files)
    return inspect_zip(path, trigger=str(trigger) if trigger else None)


def only(report: Report, code: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.code == code]
    return finding


def test_the_guides_layout_gives_its_samples(tmp_path: Path, guide: Files) -> None:
    report = inspect(tmp_path, guide)

    names = [sample.name for sample in report.samples]
    assert names == [name for name in sorted(guide) if not name.endswith(".txt")]
    clip = report.clips[0]
    assert (clip.width, clip.height, clip.frames, clip.fps) == (832, 480, 21, 16.0)
    assert (clip.frames_16fps, clip.seconds, clip.is_copied) == (21, 1.312, True)
    assert clip.caption == "ann1ka walks past the camera, take 1"
    assert report.images[0].frames is None
    assert (report.totals.images, report.totals.clips, report.totals.frames_16fps) == (3, 2, 42)
    assert report.is_usable


def test_the_report_survives_json(tmp_path: Path, guide: Files) -> None:
    report = inspect(tmp_path, guide)

    assert Report.model_validate_json(report.model_dump_json()) == report


def test_folders_around_and_flat_zips_give_the_same_version(tmp_path: Path, guide: Files) -> None:
    apart = {name.replace("videos/", "videos/v"): content for name, content in guide.items()}
    nested = {f"datasets/annika/{name}": content for name, content in apart.items()}
    flat = {name.split("/")[1]: content for name, content in apart.items()}

    versions = {inspect(tmp_path, files).version for files in (apart, nested, flat)}

    assert len(versions) == 1


def test_order_and_time_stamps_do_not_change_the_version(tmp_path: Path, guide: Files) -> None:
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        for name in reversed(list(guide)):
            info = zipfile.ZipInfo(name, date_time=(2001, 2, 3, 4, 5, 6))
            archive.writestr(info, guide[name])

    assert inspect_zip(other) == inspect(tmp_path, guide)


@pytest.mark.parametrize("changed", ["images/000.txt", "images/000.png"])
def test_another_caption_or_picture_is_another_version(
    tmp_path: Path, guide: Files, changed: str
) -> None:
    content = "ann1ka in the rain" if changed.endswith("txt") else media.png(512, 512, seed=77)

    other = inspect(tmp_path, {**guide, changed: content})

    assert other.version != inspect(tmp_path, guide).version


def test_all_clips_without_caption_are_named_in_one_finding(tmp_path: Path) -> None:
    files = dict(media.guide_files(images=0, clips=5, frames=5))
    for index in (1, 2, 4):
        del files[f"videos/{index:03d}.txt"]

    finding = only(inspect(tmp_path, files), "missing-caption")

    assert finding.severity == "error"
    assert finding.file is None
    assert finding.files == ("videos/001.mp4", "videos/002.mp4", "videos/004.mp4")
    assert finding.cause.startswith(
        "3 of 5 clips have no caption: videos/001.mp4, videos/002.mp4, videos/004.mp4."
    )
    assert "001.txt for 001.mp4" in finding.fix


def test_a_single_file_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    files = media.guide_files(images=0, clips=1, frames=5)
    del files["videos/001.txt"]

    finding = only(inspect(tmp_path, files), "missing-caption")

    assert finding.file == "videos/001.mp4"
    assert finding.cause.startswith("videos/001.mp4 has no caption.")


def test_long_lists_are_cut_in_the_sentence_and_complete_in_the_report(tmp_path: Path) -> None:
    files: Files = {f"{index:02d}.png": media.png(96, 96, seed=index) for index in range(13)}

    finding = only(inspect(tmp_path, files | {"12.txt": "ann1ka"}), "missing-caption")

    assert finding.cause.startswith("12 of 13 images have no caption: 00.png, ")
    assert "07.png and 4 more." in finding.cause
    assert len(finding.files) == 12


def test_a_set_without_media_says_what_to_add(tmp_path: Path) -> None:
    report = inspect(tmp_path, {"a.txt": "ann1ka", "b.txt": "ann1ka"})

    assert report.codes() == ["no-samples", "orphan-caption"]
    assert not report.is_usable


def test_few_samples_and_equal_captions_are_reported(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {}
    for index in range(4):
        files |= {f"{index}.png": media.png(512, 480, seed=index), f"{index}.txt": "ann1ka"}

    report = inspect(tmp_path, files)

    assert report.codes() == ["captions-all-equal", "too-few-samples"]
    assert only(report, "captions-all-equal").cause.startswith("All 4 samples have the same")
    assert only(report, "too-few-samples").cause.startswith("The 4 samples are not much to learn")


def test_captions_without_the_trigger_word_are_named(tmp_path: Path, guide: Files) -> None:
    report = inspect(tmp_path, {**guide, "images/001.txt": "a portrait"}, trigger="ANN1KA")

    assert only(report, "trigger-missing").files == ("images/001.png",)


def test_a_file_damaged_inside_the_zip_is_named(tmp_path: Path, guide: Files) -> None:
    content = bytearray(media.zip_bytes(guide))
    at = content.index(b"images/002.png")
    content[at + 5_000 : at + 5_100] = bytes(100)
    path = tmp_path / "set.zip"
    path.write_bytes(content)

    report = inspect_zip(path)

    assert report.codes() == ["damaged-in-zip"]
    assert report.findings[0].file == "images/002.png"


def test_non_square_pixels_are_reported(tmp_path: Path, guide: Files) -> None:
    stored = ClipFormat(options=(("x264-params", "sar=4/3"), ("preset", "ultrafast")))
    content = encode_clip(pan(21, 832, 480, seed=9), stored=stored)

    report = inspect(tmp_path, {**guide, "videos/x.mp4": content, "videos/x.txt": "x"})

    assert report.codes() == ["non-square-pixels"]
    assert (report.clips[-1].width, report.clips[-1].height) == (1110, 480)


def test_progress_counts_the_media(tmp_path: Path, guide: Files) -> None:
    told: list[tuple[int, int]] = []
    path = media.write_zip(tmp_path / "set.zip", guide)

    inspect_zip(path, on_progress=lambda done, total: told.append((done, total)))

    assert told == [(count, 5) for count in range(1, 6)]


def test_each_byte_of_the_zip_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(8):
            padding = random.Random(index).randbytes(2_000_000)  # a box that players skip
            box = (len(padding) + 8).to_bytes(4, "big") + b"free" + padding
            archive.writestr(f"{index}.mp4", media.mp4(5, seed=index) + box)
            archive.writestr(f"{index}.txt", f"ann1ka {index}")
    before = psutil.Process().io_counters().read_chars
    read: list[int] = []

    def count(done: int, total: int) -> None:
        # Read this before the decoders end: afterwards, their reads count for this process too.
        read.append(psutil.Process().io_counters().read_chars - before)

    inspect_zip(path, on_progress=count)

    assert 0.99 < read[-1] / path.stat().st_size < 1.05


def test_a_decoder_that_hangs_gives_a_finding_instead_of_a_crash(tmp_path: Path) -> None:
    path = media.write_zip(tmp_path / "set.zip", media.guide_files(images=1, clips=0))

    report = inspect_zip(path, limits=Limits(worker_seconds=0, workers=1))

    assert report.codes() == ["corrupt-image", "no-samples"]
    assert "took longer than 0 s" in report.findings[0].cause


def test_a_decoder_without_memory_gives_findings_instead_of_a_crash(tmp_path: Path) -> None:
    path = media.write_zip(tmp_path / "set.zip", media.guide_files(images=1, clips=0))

    report = inspect_zip(path, limits=Limits(worker_bytes=1_000_000, workers=1))

    assert not report.is_usable


def test_decoders_see_no_secrets_and_leave_no_process_behind(
    tmp_path: Path, guide: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    path = media.write_zip(tmp_path / "set.zip", guide)
    before = psutil.Process().children()  # other tests may have left processes
    environments: list[dict[str, str]] = []

    def decoders() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child not in before]

    def look(done: int, total: int) -> None:
        environments.extend(child.environ() for child in decoders())

    inspect_zip(path, on_progress=look)

    assert environments
    assert not any("DISCORD_TOKEN" in environment for environment in environments)
    assert decoders() == []
