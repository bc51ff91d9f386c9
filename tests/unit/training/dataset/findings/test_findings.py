"""How a finding names its files."""

import pytest

from tests.unit.training.dataset.samples import image
from training.dataset.findings.findings import Noted, fold
from training.dataset.findings.whole_set import equal_captions
from training.dataset.report import Kind, Note


def cause(code: str, *paths: str, total: int, kind: Kind = "video", detail: str = "") -> str:
    noted = [Noted(path, kind, Note(code=code, detail=detail)) for path in paths]
    (finding,) = fold(noted, {kind: total})
    assert finding.files == paths
    return finding.cause


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (8, "2 of 8 clips have sound: a.mp4, b.mp4."),
        (2, "Both clips have sound."),
    ],
)
def test_names_are_listed_unless_every_clip_is_concerned(total: int, said: str) -> None:
    assert cause("audio-dropped", "a.mp4", "b.mp4", total=total) == said


def test_every_file_of_a_kind_is_counted_not_named() -> None:
    paths = [f"{number}.mp4" for number in range(8)]

    assert cause("audio-dropped", *paths, total=8) == "All 8 clips have sound."
    assert cause("fps-not-16", *paths, total=8, detail="30 fps").startswith(
        "All 8 clips do not run at 16 frames per second (30 fps)."
    )


def test_several_files_have_their_own_colours() -> None:
    assert cause("untagged-colours", "a.mp4", "b.mp4", total=2).startswith(
        "Both clips do not say how their colours are stored."
    )


def test_a_single_file_is_always_named() -> None:
    assert cause("audio-dropped", "a.mp4", total=1) == "a.mp4 has sound."


def test_files_of_both_kinds_are_samples() -> None:
    noted = [
        Noted("a.mp4", "video", Note(code="missing-caption")),
        Noted("b.png", "image", Note(code="missing-caption")),
        Noted("c.png", "image", Note(code="missing-caption")),
    ]

    (finding,) = fold(noted, {"video": 1, "image": 2})

    assert finding.cause.startswith("All 3 samples have no caption.")


@pytest.mark.parametrize(
    ("captions", "said"),
    [
        (("ann1ka", "ann1ka", "ann1ka"), "All 3 samples have the same caption."),
        (("ann1ka",) * 3 + ("",), "All 3 samples with a caption have the same caption."),
        (("ann1ka", "", ""), ""),
        (("ann1ka sits", "ann1ka", "ann1ka"), ""),
    ],
)
def test_only_captions_that_exist_are_compared(captions: tuple[str, ...], said: str) -> None:
    samples = [image().model_copy(update={"caption": caption}) for caption in captions]

    findings = equal_captions(samples)

    assert bool(findings) == bool(said)
    assert all(finding.cause.startswith(said) for finding in findings)
