"""Repair writes what the report promised: 16 fps in real time, upright, BT.601, reproducible."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests import media
from tests.media import Pixels, encode_clip
from tests.unit.training.dataset import flawed_media
from training.dataset.inspect import inspect_zip
from training.dataset.manifest import verify_manifest
from training.dataset.repair import repair
from training.dataset.report import Report
from training.errors import DatasetError

Files = Mapping[str, bytes | str]


def write(tmp_path: Path, files: Files) -> tuple[Path, Report]:
    path = media.write_zip(tmp_path / "set.zip", files)
    return path, inspect_zip(path)


def repaired(tmp_path: Path, files: Files) -> Path:
    path, report = write(tmp_path, files)
    repair(path, report, tmp_path / "set")
    return tmp_path / "set"


def one_clip(tmp_path: Path, content: bytes) -> Path:
    return repaired(tmp_path, {"x.mp4": content, "x.txt": "ann1ka"}) / "videos" / "x.mp4"


def brightness(path: Path) -> list[float]:
    """Decode a clip and return each frame's mean level."""
    with av.open(str(path)) as container:
        return [float(f.to_ndarray(format="rgb24").mean()) for f in container.decode(video=0)]


def ramp(times: list[Fraction]) -> list[Pixels]:
    """Return frames whose level is 80 times their moment in seconds."""
    return [np.full((96, 160, 3), round(20 + 80 * float(time)), np.uint8) for time in times]


def test_clips_keep_their_speed_at_any_frame_rate(tmp_path: Path) -> None:
    rates = (Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(10))
    files: dict[str, bytes | str] = {}
    for number, fps in enumerate(rates):
        times = [index / fps for index in range(int(2 * fps))]
        files |= {f"{number}.mp4": encode_clip(ramp(times), fps=fps), f"{number}.txt": "ann1ka"}

    folder = repaired(tmp_path, files)

    for number, fps in enumerate(rates):
        levels = brightness(folder / "videos" / f"{number}.mp4")
        assert len(levels) == 29
        for index, level in enumerate(levels):
            assert level == pytest.approx(20 + 80 * index / 16, abs=40 / float(min(fps, 16)) + 2)


def test_a_clip_with_variable_frame_rate_keeps_its_speed(tmp_path: Path) -> None:
    times = [Fraction(index, 60) for index in range(60)]
    times += [1 + Fraction(index, 10) for index in range(11)]

    levels = brightness(one_clip(tmp_path, encode_clip(ramp(times), times=times)))

    assert len(levels) == 33
    for index, level in enumerate(levels):
        assert level == pytest.approx(20 + 80 * index / 16, abs=80 / 10 / 2 + 2)


@pytest.mark.parametrize("frames", [21, 17, 1])
def test_a_clip_that_already_fits_is_copied_byte_for_byte(tmp_path: Path, frames: int) -> None:
    content = media.mp4(frames)

    assert one_clip(tmp_path, content).read_bytes() == content


def test_a_clip_cut_without_encoding_begins_where_it_was_cut(tmp_path: Path) -> None:
    whole = encode_clip(ramp([Fraction(index, 16) for index in range(41)]))

    levels = brightness(one_clip(tmp_path, flawed_media.cut_without_encoding(whole, 20)))

    assert len(levels) == 21
    assert levels[0] == pytest.approx(20 + 80 * 20 / 16, abs=3)


def test_transparent_parts_of_a_clip_become_white(tmp_path: Path) -> None:
    frames = [np.full((96, 160, 3), (200, 60, 40), np.uint8)] * 5

    path = repaired(tmp_path, {"x.mov": flawed_media.layered(frames, 51), "x.txt": "x"})

    with av.open(str(path / "videos" / "x.mp4")) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(pixels[:, :70].mean(axis=(0, 1)) - (200, 60, 40)).max() < 4
    assert np.abs(pixels[:, 90:].mean(axis=(0, 1)) - (244, 216, 212)).max() < 4


@pytest.mark.parametrize(
    "matrix", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0), (0, 1, -1, 0),
               (0, -1, 1, 0), (-1, 0, 0, -1)],
)  # fmt: skip
def test_a_clip_shown_rotated_or_mirrored_is_stored_that_way(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    """Each quarter has its own level; the matrix says where its place (x, y) is shown."""
    levels = {(-1, -1): 240, (1, -1): 170, (-1, 1): 100, (1, 1): 30}
    frame = np.zeros((192, 320, 3), np.uint8)
    for (x, y), level in levels.items():
        quarter(frame, x, y)[:] = level
    a, b, c, d = matrix

    path = one_clip(tmp_path, flawed_media.turned(encode_clip([frame] * 5), matrix))

    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    shown = np.asarray(picture, dtype=np.uint8)
    for (x, y), level in levels.items():
        found = quarter(shown, a * x + c * y, b * x + d * y)
        assert found.mean() == pytest.approx(level, abs=5)


def quarter(pixels: Pixels, x: int, y: int) -> Pixels:
    height, width = (side // 2 for side in pixels.shape[:2])
    across = slice(width) if x < 0 else slice(width, None)
    return pixels[slice(height) if y < 0 else slice(height, None), across]


def test_rotated_clips_and_photos_are_turned_upright(tmp_path: Path) -> None:
    """A clip marked for a quarter turn clockwise is shown with its left edge at the top."""
    frame = np.zeros((192, 320, 3), np.uint8)
    frame[:, :160] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = media.image_bytes(Image.fromarray(frame), "JPEG", exif=exif)
    lying = flawed_media.turned(encode_clip([frame] * 5))

    folder = repaired(tmp_path, {"a.jpg": photo, "a.txt": "a", "b.mp4": lying, "b.txt": "b"})

    with av.open(str(folder / "videos" / "b.mp4")) as container:
        turned = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with Image.open(folder / "images" / "a.png") as image:
        still = np.asarray(image)
    for pixels in (turned, still):
        assert pixels.shape == (320, 192, 3)
        assert pixels[:150].mean() > 240
        assert pixels[170:].mean() < 15


def test_the_same_zip_gives_the_same_bytes(tmp_path: Path) -> None:
    files = {**flawed_media.uneven(1), **flawed_media.saved(2, "WEBP", "y.webp")}
    path, report = write(tmp_path, files)

    first = repair(path, report, tmp_path / "one")
    second = repair(path, report, tmp_path / "two")

    assert first == second
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (
        tmp_path / "two" / "manifest.json"
    ).read_bytes()


def test_an_interrupted_repair_continues_where_it_stopped(tmp_path: Path) -> None:
    path, report = write(tmp_path, media.guide_files(images=4, clips=0))
    target = tmp_path / "set"

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair(path, report, target, on_progress=interrupt)
    assert not target.exists()
    told: list[tuple[int, int]] = []
    repair(path, report, target, on_progress=lambda done, total: told.append((done, total)))

    assert told == [(3, 4), (4, 4)]
    verify_manifest(target)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["set", "set.zip"]


def test_repairing_twice_to_one_place_does_nothing_the_second_time(tmp_path: Path) -> None:
    path, report = write(tmp_path, media.guide_files(images=2, clips=0))
    first = repair(path, report, tmp_path / "set")
    path.unlink()

    assert repair(path, report, tmp_path / "set") == first


def test_a_set_with_errors_is_not_repaired(tmp_path: Path) -> None:
    path, report = write(tmp_path, {"x.png": media.png()})

    with pytest.raises(DatasetError, match=r"x\.png has no caption"):
        repair(path, report, tmp_path / "set")

    assert not (tmp_path / "set").exists()


def test_a_zip_other_than_the_inspected_one_is_refused(tmp_path: Path) -> None:
    path, report = write(tmp_path, media.guide_files(images=2, clips=0))
    media.write_zip(
        path, {**media.guide_files(images=2, clips=0), "images/000.png": media.png(seed=9)}
    )

    with pytest.raises(DatasetError, match=r"images/000\.png differs"):
        repair(path, report, tmp_path / "set")


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    path, report = write(tmp_path, media.guide_files(images=2, clips=0))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")

    with pytest.raises(DatasetError, match="already contains other files"):
        repair(path, report, tmp_path / "set")

    assert [entry.name for entry in (tmp_path / "set").iterdir()] == ["mine.txt"]


def test_verification_notices_changed_missing_and_stray_files(tmp_path: Path) -> None:
    folder = repaired(tmp_path, media.guide_files(images=2, clips=0))
    caption = folder / "images" / "000.txt"
    before = caption.read_text()

    caption.write_text("another")
    with pytest.raises(DatasetError, match="has changed"):
        verify_manifest(folder)
    caption.unlink()
    with pytest.raises(DatasetError, match="is missing"):
        verify_manifest(folder)
    caption.write_text(before)
    verify_manifest(folder)
    (folder / "images" / "stray.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="is not part of it"):
        verify_manifest(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(DatasetError, match="manifest is missing"):
        verify_manifest(folder)
