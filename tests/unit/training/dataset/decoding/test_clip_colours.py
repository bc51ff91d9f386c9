"""A chart filmed in every format comes out as filmed, by the trainer's reader and by others."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tests.charts import Film, film, patches
from tests.films import FILMS, HEVC, LIMIT, WIDE, off, write_films
from tests.media import write_zip
from tests.shown import SHOWN
from tests.trainer_reader import read_as_trainer
from training.dataset.decoding.colours import Tags, colours_of
from training.dataset.inspect import inspect_zip
from training.dataset.repair import repair
from training.dataset.report import Report


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return write_films(tmp_path_factory.mktemp("filmed"))


@pytest.fixture(scope="module")
def report(filmed: Mapping[str, Path]) -> Report:
    archive = next(iter(filmed.values())).parent / "set.zip"
    files = {path.name: path.read_bytes() for path in filmed.values()}
    write_zip(archive, files | {f"{path.stem}.txt": b"ann1ka" for path in filmed.values()})
    return inspect_zip(archive)


@pytest.fixture(scope="module")
def repaired(filmed: Mapping[str, Path], report: Report) -> Mapping[str, Path]:
    folder = next(iter(filmed.values())).parent
    repair(folder / "set.zip", report, folder / "set")
    return {name: folder / "set/videos" / f"{path.stem}.mp4" for name, path in filmed.items()}


def read_with_tags(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        frame: Any = next(container.decode(video=0))
        image = frame.to_image()
    return patches(np.array(image, np.uint8))


def rows(found: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    yield "| filmed as | repaired, PyAV 14 | newer | launcher | original, launcher |"
    yield "|---|---|---|---|---|"
    for name, levels in found.items():
        yield f"| {name} | {' | '.join(map(str, levels))} |"


def test_every_reader_sees_the_filmed_colours(
    filmed: Mapping[str, Path],
    repaired: Mapping[str, Path],
    record_property: Callable[[str, object], None],
) -> None:
    by_trainer = read_as_trainer([*repaired.values()], "plain")
    by_launcher = read_as_trainer([*repaired.values(), *filmed.values()], "launcher")
    found: dict[str, tuple[int, ...]] = {}
    for number, name in enumerate(FILMS):
        launched = by_launcher[number], by_launcher[len(FILMS) + number]
        seen = (by_trainer[number], read_with_tags(repaired[name]), *launched)
        found[name] = tuple(off(patch, name) for patch in seen)
    record_property(SHOWN, "\n".join(rows(found)))

    assert {name: levels for name, levels in found.items() if max(levels) > LIMIT} == {}


def test_without_the_launcher_the_pinned_reader_is_wrong_about_originals(
    filmed: Mapping[str, Path],
) -> None:
    """The fault that this works around; when it is fixed, the launcher's reader can go too."""
    (plain,) = read_as_trainer([filmed["709"]], "plain")

    assert off(plain, "709") > 4 * LIMIT


def test_repaired_clips_say_how_their_colours_are_stored(repaired: Mapping[str, Path]) -> None:
    for path in repaired.values():
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            assert (context.colorspace, context.color_range) == (6, 1)
            assert (context.color_primaries, context.color_trc) == (1, 1)


@pytest.mark.parametrize(
    ("width", "height", "matrix"),
    [(1280, 536, "bt709"), (1279, 576, "bt601"), (1024, 577, "bt709"), (1280, 720, "bt709")],
)
def test_an_untagged_clip_is_read_as_players_do(width: int, height: int, matrix: str) -> None:
    colours = colours_of(VideoFrame(width, height, "yuv420p"), Tags())

    assert colours.is_guessed
    assert colours.matrix == matrix


def test_guesses_and_conversions_are_reported(filmed: Mapping[str, Path], report: Report) -> None:
    said = {
        finding.code: {Path(file).name for file in finding.files} for finding in report.findings
    }

    assert said["untagged-colours"] == {filmed[f"untagged {size}"].name for size in ("SD", "HD")}
    assert said["wide-colours"] == {filmed[name].name for name in WIDE}


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (Film(matrix=8, weights=1), "YCgCo"),
        (Film(primaries=10), "CIE XYZ"),
        (replace(HEVC, pix_fmt="yuv420p10le", matrix=10, primaries=9, weights=9), "constant"),
        (replace(HEVC, pix_fmt="yuv420p10le", matrix=14, primaries=9, weights=9), "ICtCp"),
    ],
)
def test_colours_without_a_conversion_are_refused_by_name(
    how: Film, named: str, tmp_path: Path
) -> None:
    archive = write_zip(tmp_path / "set.zip", {"x.mp4": film(how), "x.txt": b"ann1ka"})

    errors = {error.code: error.cause for error in inspect_zip(archive).errors}

    assert named in errors["strange-colours"]
