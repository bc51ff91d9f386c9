"""A clip is judged by its decoded pictures: not by headers, marks, or the order of its tracks."""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from tests import media
from tests.media import ClipFormat, Pixels, encode_clip, pan, write_zip
from tests.unit.training.dataset.flawed_media import fields, joined, tracks
from training.dataset.decoding.clip_convert import convert_clip
from training.dataset.decoding.clip_probe import probe_clip
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.repair import repair
from training.dataset.report import MediaFacts, Report

SMALL, LARGE = (160, 96), (640, 384)


def checked(tmp_path: Path, content: bytes, name: str = "x.mp4") -> Report:
    return inspect_zip(write_zip(tmp_path / "set.zip", {name: content, "x.txt": b"ann1ka"}))


def details(report: Report, code: str) -> str:
    return next(finding.cause for finding in report.findings if finding.code == code)


def levels(tmp_path: Path, report: Report) -> list[int]:
    """Repair the set and return the level of each frame of its clip."""
    repair(tmp_path / "set.zip", report, tmp_path / "set")
    with av.open(str(tmp_path / "set/videos/x.mp4")) as container:
        return [round(f.to_ndarray(format="gray").mean()) for f in container.decode(video=0)]


def plain(level: int, frames: int, size: tuple[int, int] = (160, 96)) -> list[Pixels]:
    return [np.full((size[1], size[0], 3), level, np.uint8)] * frames


def moving(size: tuple[int, int], seed: int, frames: int = 21) -> list[Pixels]:
    return list(pan(frames, *size, seed=seed))


def probed(tmp_path: Path, content: bytes) -> tuple[MediaFacts, dict[str, str]]:
    """Return what is found in a clip, and the details of its notes by their codes."""
    (tmp_path / "x").write_bytes(content)
    facts = probe_clip(tmp_path / "x", ".mp4", Limits())
    return facts, {note.code: note.detail for note in facts.notes}


def written(tmp_path: Path, facts: MediaFacts) -> int:
    """Repair the probed clip and return how many frames it then has."""
    assert facts.frames_16fps is not None
    target = tmp_path / "x.mp4"
    convert_clip(
        tmp_path / "x", target, frames=facts.frames_16fps, is_copied=False, is_interlaced=False
    )
    with av.open(str(target)) as container:
        return len([*container.decode(video=0)])


@pytest.mark.parametrize("sizes", [(SMALL, LARGE), (LARGE, SMALL), (SMALL, LARGE, SMALL)])
def test_of_several_tracks_the_largest_is_used_and_the_others_are_named(
    sizes: Sequence[tuple[int, int]], tmp_path: Path
) -> None:
    pictures = [moving(size, seed) for seed, size in enumerate(sizes)]
    content = tracks(*pictures, default=sizes.index(SMALL))

    report = checked(tmp_path, content)

    (clip,) = report.clips
    assert (clip.width, clip.height) == LARGE
    assert "640 x 384 is used, not 160 x 96" in details(report, "several-streams")


@pytest.mark.parametrize("default", [0, 1])
def test_of_equal_tracks_the_default_is_used(tmp_path: Path, default: int) -> None:
    both = [moving(SMALL, 1), moving(SMALL, 2)]
    used: dict[str, list[int]] = {}
    for name, data in (
        ("both", tracks(*both, default=default)),
        ("alone", tracks(both[default])),
        ("other", tracks(both[1 - default])),
    ):
        folder = tmp_path / name
        folder.mkdir()
        used[name] = levels(folder, checked(folder, data))

    def away(name: str) -> float:
        return max(abs(a - b) for a, b in zip(used["both"], used[name], strict=True))

    # Coding alters a track's mean level by up to 2; the two tracks are further apart.
    assert away("alone") <= 2
    assert away("other") >= 6


def with_cover(container: str, codec: str, pix_fmt: str, disposition: Disposition) -> bytes:
    """Return a small clip with a large picture beside it, which may be marked as its cover."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        clip = track(output, "libx264", "yuv420p", SMALL)
        cover = track(output, codec, pix_fmt, LARGE)
        cover.disposition = disposition
        for stream, pictures in ((clip, pan(33, *SMALL)), (cover, pan(1, *LARGE))):
            for index, pixels in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 16)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return buffer.getvalue()


def track(output: OutputContainer, codec: str, form: str, size: tuple[int, int]) -> VideoStream:
    stream = output.add_stream(codec, rate=16)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size
    stream.pix_fmt = form
    return stream


@pytest.mark.parametrize(
    ("container", "codec", "pix_fmt", "disposition", "is_named"),
    [
        ("mp4", "mjpeg", "yuvj420p", Disposition.attached_pic, False),
        ("mp4", "png", "rgb24", Disposition.attached_pic, False),
        ("matroska", "mjpeg", "yuvj420p", Disposition.default, True),
        ("matroska", "libx264", "yuv420p", Disposition(0), True),
        ("mp4", "mjpeg", "yuvj420p", Disposition(0), True),
    ],
)
def test_a_cover_is_never_taken_for_the_clip(
    container: str,
    codec: str,
    pix_fmt: str,
    disposition: Disposition,
    is_named: bool,
    tmp_path: Path,
) -> None:
    facts, notes = probed(tmp_path, with_cover(container, codec, pix_fmt, disposition))

    assert (facts.width, facts.height, facts.frames) == (*SMALL, 33)
    assert ("several-streams" in notes) is is_named


@pytest.mark.parametrize("jumps", [{1: 60}, {20: 60}, {32: 60}, {9: 3600, 20: 3600}])
def test_a_jump_of_the_clock_is_closed_and_reported(
    jumps: Mapping[int, int], tmp_path: Path
) -> None:
    later = [sum(by for at, by in jumps.items() if at <= index) for index in range(33)]
    times = [Fraction(index, 16) + extra for index, extra in enumerate(later)]
    stored = ClipFormat(container="matroska")

    facts, notes = probed(tmp_path, encode_clip(moving(SMALL, 1, 33), times=times, stored=stored))

    assert notes["time-gap"].count("0.1 s at") == len(jumps)
    assert "variable-fps" not in notes
    assert (facts.frames_16fps, facts.seconds) == (33, pytest.approx(33 / 16, abs=0.01))
    assert written(tmp_path, facts) == 33


@pytest.mark.parametrize("seconds", [2, 5, 9])
@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_pause_of_the_clock_is_kept_and_reported(
    seconds: int, container: str, tmp_path: Path
) -> None:
    times = [Fraction(index, 16) + seconds * (index > 16) for index in range(33)]
    stored = ClipFormat(container=container)

    facts, notes = probed(tmp_path, encode_clip(moving(SMALL, 1, 33), times=times, stored=stored))

    found, _, when = notes["long-pause"].partition(" s at ")
    assert float(found) == pytest.approx(seconds, abs=0.15)
    assert when == "1.0 s"
    assert facts.frames_16fps == 33 + 16 * seconds
    assert written(tmp_path, facts) == 33 + 16 * seconds


@pytest.mark.parametrize(
    "times",
    [
        [Fraction(index, 16) + (index > 16) for index in range(33)],
        [Fraction(3 * index) for index in range(12)],
    ],
    ids=["a pause of 1 s", "a picture each 3 s"],
)
def test_short_pauses_and_slow_clips_are_no_long_pauses(
    times: Sequence[Fraction], tmp_path: Path
) -> None:
    content = encode_clip(moving(SMALL, 1, len(times)), times=list(times))

    _facts, notes = probed(tmp_path, content)

    assert "long-pause" not in notes


def test_pictures_that_are_all_far_apart_are_no_jumps(tmp_path: Path) -> None:
    times = [Fraction(15 * index) for index in range(4)]

    facts, notes = probed(tmp_path, encode_clip(moving(SMALL, 1, 4), times=times))

    assert "time-gap" not in notes
    assert facts.seconds == pytest.approx(60, abs=16)


def test_joined_recordings_whose_clock_restarts_keep_both_parts(tmp_path: Path) -> None:
    report = checked(tmp_path, joined(plain(60, 33), plain(180, 33)), "x.ts")

    assert "at 2.1 s" in details(report, "joined")
    found = levels(tmp_path, report)
    assert len(found) == 65
    assert np.abs(np.array(found[:33]) - 60).max() <= 3
    assert np.abs(np.array(found[33:]) - 180).max() <= 3


def test_a_change_of_size_is_reported_with_its_time(tmp_path: Path) -> None:
    report = checked(tmp_path, joined(plain(90, 33, SMALL), plain(90, 33, LARGE)), "x.ts")

    assert "from 160 x 96 to 640 x 384 at 2.1 s" in details(report, "changes-size")


def test_empty_packets_of_a_screen_recording_are_pauses_not_damage(tmp_path: Path) -> None:
    times = [Fraction(n, 30) for n in range(118) if n % 3 == 0 or n < 12]
    frames = list(pan(len(times), 320, 192))
    avi = ClipFormat(container="avi", codec="mjpeg", pix_fmt="yuvj420p", options=())
    content = encode_clip(frames, stored=avi, times=times, fps=30)

    report = checked(tmp_path, content, "x.avi")

    assert report.errors == ()
    assert report.clips[0].frames == len(times)
    assert report.clips[0].frames_16fps == 61


def marked(parameters: str, pixels: Sequence[Pixels]) -> bytes:
    options = (("crf", "16"), ("preset", "ultrafast"), ("x264-params", parameters))
    return encode_clip(pixels, stored=ClipFormat(options=options))


def test_progressive_pictures_marked_as_interlaced_stay_as_they_are(tmp_path: Path) -> None:
    report = checked(tmp_path, marked("fake-interlaced=1", list(pan(33, 320, 192, seed=3))))

    assert "interlaced" not in report.codes()
    assert not report.clips[0].is_interlaced


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_pictures_of_two_fields_are_separated(order: str, tmp_path: Path) -> None:
    report = checked(tmp_path, fields(3, order))

    assert "interlaced" in report.codes()
    assert report.clips[0].is_interlaced


def test_standing_pictures_marked_as_interlaced_need_no_filter(tmp_path: Path) -> None:
    still = np.asarray(media.picture(320, 192, seed=4))

    assert "interlaced" not in checked(tmp_path, marked("tff=1", [still] * 33)).codes()
