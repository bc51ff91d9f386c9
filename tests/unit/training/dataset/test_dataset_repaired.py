"""Everything that repair fixes, in one set: the result is what the trainer needs."""

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image

from tests import media
from tests.unit.training.dataset.findings.code_fixtures import CASES
from training.dataset.findings.rules import RULES
from training.dataset.inspect import inspect_zip
from training.dataset.manifest import verify_manifest
from training.dataset.repair import repair
from training.dataset.report import Report

UNWANTED = "annika/unwanted.png"  # the user leaves it out


def repairable(code: str) -> bool:
    return code == "" or RULES[code].is_repaired


def dirty() -> bytes:
    """A zip with everything that repair fixes, and files that need no repair, in one folder."""
    files: dict[str, bytes | str] = {}
    cases = [make for code, make in CASES.values() if repairable(code)]
    for index, make in enumerate(cases):
        made = make(300 + index)
        files |= {f"annika/c{index}/{name}": content for name, content in made.items()}
    files |= {
        "annika/windows@x.png": media.png(512, 480, seed=299),
        "annika/windows@x.txt": "ann1ka",
        UNWANTED: media.png(512, 480, seed=297),
        UNWANTED.replace(".png", ".txt"): "ann1ka",
        "annika/coded@@@@.png": media.png(512, 480, seed=298),
        "annika/coded@@@@.txt": "ann1ka",
    }
    content = media.zip_bytes(files).replace(b"annika/windows@", b"annika/windows\\")
    return content.replace(b"coded@@@@", "coded写真".encode("cp932"))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    path = tmp_path_factory.mktemp("dirty") / "set.zip"
    path.write_bytes(dirty())
    return path, inspect_zip(path, left_out=frozenset({UNWANTED}))


@pytest.fixture(scope="module")
def clean(seen: tuple[Path, Report]) -> Path:
    path, report = seen
    repair(path, report, path.with_name("set"))
    return path.with_name("set")


def test_the_dirty_set_has_every_flaw_that_repair_fixes(seen: tuple[Path, Report]) -> None:
    assert set(seen[1].codes()) == {code for code, rule in RULES.items() if rule.is_repaired}


def test_a_second_inspection_after_repair_finds_nothing(clean: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    shutil.make_archive(str(again.with_suffix("")), "zip", clean)

    report = inspect_zip(again)

    assert report.findings == ()
    assert all(sample.is_copied for sample in report.samples)


def test_repaired_clips_are_16_fps_4n1_frames_h264_bt601_without_sound(
    clean: Path, seen: tuple[Path, Report]
) -> None:
    clips = sorted((clean / "videos").glob("*.mp4"))
    assert len(clips) == len(seen[1].clips) >= 15
    for path in clips:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            assert len(container.streams) == 1
            assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
            assert (context.colorspace, context.color_range, context.color_trc) == (6, 1, 1)
            assert stream.average_rate == 16
            seconds = [frame.pts * frame.time_base for frame in container.decode(stream)
                       if frame.pts is not None and frame.time_base is not None]  # fmt: skip
        assert seconds == [Fraction(index, 16) for index in range(len(seconds))]
        assert len(seconds) % 4 == 1


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="the independent probe is missing")
def test_ffprobe_agrees(clean: Path) -> None:
    for path in (clean / "videos").glob("*.mp4"):
        wanted = "stream=avg_frame_rate,r_frame_rate,nb_read_frames,width,height"
        output = subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-show_entries", wanted, "-of", "json",
             str(path)], capture_output=True, check=True,
        ).stdout  # fmt: skip
        (stream,) = json.loads(output)["streams"]

        assert stream["avg_frame_rate"] == stream["r_frame_rate"] == "16/1"
        assert int(stream["nb_read_frames"]) % 4 == 1
        assert stream["width"] % 2 == stream["height"] % 2 == 0


def test_repaired_images_are_plain_rgb(clean: Path, seen: tuple[Path, Report]) -> None:
    images = [path for path in (clean / "images").iterdir() if path.suffix != ".txt"]
    assert len(images) == len(seen[1].images) >= 15
    for path in images:
        with Image.open(path) as image:
            assert (image.format, image.mode) in {("PNG", "RGB"), ("JPEG", "RGB")}
            assert image.getexif().get(0x0112, 1) == 1
            assert "icc_profile" not in image.info


def test_every_sample_has_its_caption_in_utf8(clean: Path) -> None:
    manifest = verify_manifest(clean)

    for sample in manifest.samples:
        text = (clean / sample.name).with_suffix(".txt").read_text(encoding="utf-8")
        assert text == f"{sample.caption}\n"
    assert "im Café" in {sample.caption for sample in manifest.samples}
    assert all(name.isascii() and " " not in name for name in (f.name for f in manifest.files))
