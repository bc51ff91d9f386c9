"""The contact sheet: every sample with its caption, in any script, small enough to post."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.messages.datasets.contact_sheet import SHEET_LIMIT_BYTES, draw_sheet
from tests.examples import examples
from tests.unit.bot.messages.dataset_examples import a_finding, a_sample
from training.dataset.decoding.thumbnail import BOX, spread
from training.dataset.report import Finding, Report, Sample

RED, AMBER = (218, 55, 60), (240, 178, 50)


def a_report(*samples: Sample, findings: tuple[Finding, ...] = ()) -> Report:
    return Report(version="v", samples=samples, findings=findings)


def noise(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (BOX[1], BOX[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def drawn(report: Report, pictures: dict[str, Image.Image]) -> Image.Image:
    sheet = draw_sheet(report, pictures)
    assert sheet is not None
    return Image.open(io.BytesIO(sheet.data)).convert("RGB")


def grey(path: str) -> dict[str, Image.Image]:
    return {path: Image.new("RGB", BOX, (128, 128, 128))}


def close(sheet: Image.Image, at: tuple[int, int], wanted: tuple[int, int, int]) -> bool:
    found = np.asarray(sheet, int)[at[1], at[0]]
    return bool(np.abs(found - np.asarray(wanted)).max() < 24)


def test_pictures_that_do_not_fit_are_counted() -> None:
    samples = [a_sample(f"images/{n:02}.png", "image") for n in range(60)]
    pictures = {samples[n].source: noise(n) for n in spread(60)}
    some = {path: pictures[path] for path in list(pictures)[:23]}

    whole, fewer = drawn(a_report(*samples), pictures), drawn(a_report(*samples), some)
    exact = drawn(a_report(*(s for s in samples if s.source in pictures)), pictures)

    assert len(pictures) == 24
    assert whole.size == fewer.size
    assert exact.height < whole.height  # no line "and 36 more"


@pytest.mark.parametrize(("count", "columns"), [(1, 2), (2, 2), (5, 3), (9, 3), (10, 4), (24, 4)])
def test_few_pictures_are_shown_larger_side_by_side(count: int, columns: int) -> None:
    samples = [a_sample(f"images/{n:02}.png", "image") for n in range(count)]

    sheet = drawn(a_report(*samples), {s.source: noise(0) for s in samples})

    assert sheet.width == columns * (BOX[0] + 16 + 16) + 16


def test_a_sheet_full_of_noise_stays_under_one_megabyte() -> None:
    samples = [a_sample(f"images/{n:02}.png", "image", caption="x" * 300) for n in range(24)]
    sheet = draw_sheet(a_report(*samples), {s.source: noise(n) for n, s in enumerate(samples)})

    assert sheet is not None
    assert 300_000 < len(sheet.data) <= SHEET_LIMIT_BYTES


def test_samples_with_their_own_finding_have_an_edge() -> None:
    samples = [a_sample(f"images/{n}.png", "image") for n in range(3)]
    bad = a_finding("bad", "error").model_copy(update={"files": ("images/0.png",)})
    odd = a_finding("odd", "warning").model_copy(update={"files": ("images/0.png", "images/1.png")})
    pictures = {s.source: Image.new("RGB", BOX, (128, 128, 128)) for s in samples}

    sheet = drawn(a_report(*samples, findings=(bad, odd)), pictures)

    edges = [(17 + n * (BOX[0] + 32), 40) for n in range(3)]
    assert close(sheet, edges[0], RED)
    assert close(sheet, edges[1], AMBER)
    assert not close(sheet, edges[2], AMBER)


def test_a_sheet_says_in_words_what_its_edges_and_pictures_show() -> None:
    samples = [a_sample(f"images/{n}.png", "image") for n in range(3)]
    bad = a_finding("bad", "error").model_copy(update={"files": ("images/0.png",)})
    report = a_report(*samples, findings=(bad,))
    some = {s.source: Image.new("RGB", BOX, (128, 128, 128)) for s in samples[:2]}

    sheet = draw_sheet(report, some)

    assert sheet is not None
    assert sheet.alt == "Contact sheet: 2 of 3 images, with captions. 1 sample with errors."
    pixels = Image.open(io.BytesIO(sheet.data)).convert("RGB")
    word = (16 + 8 + BOX[0] - 12, 16 + 8 + 12)  # in the corner of the first picture
    assert not close(pixels, word, (128, 128, 128))
    assert close(pixels, (word[0] + BOX[0] + 32, word[1]), (128, 128, 128))


def test_repaired_samples_are_marked() -> None:
    sample = a_sample("videos/0.mp4", "video", 33)
    kept = sample.model_copy(update={"is_copied": True})

    marked, plain = (
        drawn(a_report(sample), grey(sample.name)),
        drawn(a_report(kept), grey(kept.name)),
    )

    at = (36, 34)
    assert not close(marked, at, (128, 128, 128))
    assert close(plain, at, (128, 128, 128))


@pytest.mark.parametrize(
    "caption",
    ["アニカが雨の中を歩く、青い傘", "安妮卡走过镜头", "걷는 안니카", "Анника идёт", "Αννίκα"],
)
def test_these_scripts_are_drawn_with_their_letters(caption: str) -> None:
    boxes = a_sample("images/0.png", "image", caption="\U0010fffd" * len(caption))
    letters = a_sample("images/0.png", "image", caption=caption)

    found, missing = (drawn(a_report(s), grey(s.name)) for s in (letters, boxes))

    assert np.abs(np.asarray(found, int) - np.asarray(missing, int)).max() > 100


@settings(deadline=None, max_examples=examples(60))
@given(st.text(max_size=500))
def test_no_caption_breaks_the_sheet_and_equal_input_gives_equal_bytes(caption: str) -> None:
    report = a_report(a_sample("images/0.png", "image", caption=caption))

    assert draw_sheet(report, grey("images/0.png")) == draw_sheet(report, grey("images/0.png"))


def test_without_pictures_there_is_no_sheet() -> None:
    assert draw_sheet(a_report(a_sample("images/0.png", "image")), {}) is None


def test_the_shown_samples_are_spread_over_a_large_set() -> None:
    assert spread(3) == {0, 1, 2}
    assert len(spread(1000)) == 24
    assert {0, 999} <= spread(1000)
    assert max(np.diff(sorted(spread(1000)))) <= 44
