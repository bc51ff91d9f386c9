"""Every code has a fixture, made on the fly; each fixture gives its own code and no other."""

from collections import defaultdict
from pathlib import Path

import pytest

from tests import media
from tests.unit.training.dataset.findings.code_fixtures import CASES, SETS
from training.dataset.findings.rules import RULES
from training.dataset.inspect import inspect_zip
from training.dataset.report import Report


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One zip with a folder for each case, inspected once."""
    files: dict[str, bytes | str] = {}
    for index, (_, make) in enumerate(CASES.values()):
        files |= {f"c{index:02d}/{name}": content for name, content in make(index).items()}
    path = tmp_path_factory.mktemp("codes") / "all.zip"
    return inspect_zip(media.write_zip(path, files))


@pytest.mark.parametrize("case", CASES)
def test_each_flaw_gives_its_own_code_and_no_other(everything: Report, case: str) -> None:
    folder = f"c{list(CASES).index(case):02d}/"
    codes = defaultdict[str, int](int)

    for finding in everything.findings:
        codes[finding.code] += sum(path.startswith(folder) for path in finding.files)

    assert {code for code, count in codes.items() if count} == {CASES[case][0]} - {""}


def test_every_finding_has_a_cause_and_a_fix_in_sentences(everything: Report) -> None:
    for finding in everything.findings:
        assert finding.cause.endswith(".")
        assert finding.fix.endswith(".")
        assert finding.file is None or finding.file in finding.cause
        assert finding.files


def test_findings_are_sorted_by_gravity(everything: Report) -> None:
    order = [("error", "warning", "info").index(f.severity) for f in everything.findings]

    assert order == sorted(order)
    assert not everything.is_usable


@pytest.mark.parametrize("case", SETS)
def test_each_flaw_of_a_whole_set_gives_its_own_code_and_no_other(
    tmp_path: Path, case: str
) -> None:
    code, make = SETS[case]
    path = tmp_path / "set.zip"
    path.write_bytes(make())

    report = inspect_zip(path, trigger="ann1ka")

    assert set(report.codes()) == {code} - {""}


def test_every_code_has_a_fixture() -> None:
    on_request = {"left-out"}

    assert {code for code, _ in (*CASES.values(), *SETS.values())} - {""} == set(RULES) - on_request


# The issues of klippbok 0.1.0, and their codes here.
OF_KLIPPBOK = {
    "RESOLUTION_BELOW_MIN": {"clip-too-small", "image-too-small"},
    "RESOLUTION_BELOW_TARGET": {"low-resolution", "small-image"},
    "FPS_MISMATCH": {"fps-not-16", "low-fps", "variable-fps"},
    "INVALID_FRAME_COUNT": {"frames-not-4n1"},
    "FRAME_COUNT_TOO_SHORT": {"clip-too-short"},
    "NON_SQUARE_SAR": {"non-square-pixels"},
    "SCENE_CUT_DETECTED": {"scene-cut"},
    "PROBE_FAILED": {"corrupt-clip"},
    "NO_VIDEO_STREAM": {"no-picture"},
    "CAPTION_MISSING": {"missing-caption"},
    "CAPTION_EMPTY": {"empty-caption"},
    "CAPTION_TOO_LONG": {"caption-too-long"},
    "FILE_TYPE_INVALID": {"unsupported-type", "wrong-extension"},
    "FILE_CORRUPTED": {"corrupt-image", "corrupt-clip"},
    "DUPLICATE_DETECTED": {"exact-duplicate", "near-duplicate"},
    "ORPHANED_FILE": {"orphan-caption"},
    "EXPOSURE_OUT_OF_RANGE": {"black-image", "black-frames", "blank-image", "blank-frames"},
    "BLUR_BELOW_THRESHOLD": {"blurry"},
    "MOTION_BELOW_MIN": {"static-clip"},
    "DATASET_EMPTY": {"no-samples"},
}
WITHOUT_MEANING_HERE = {
    "RESOLUTION_ABOVE_TARGET": "the trainer scales down without loss of anything it could learn",
    "FRAME_COUNT_LARGE_TRIM": "clips are cut to the longest 4N+1: three frames are lost at most",
    "REFERENCE_MISSING": "musubi-tuner takes a clip's first frame as its reference",
    "REFERENCE_BLANK": "likewise; a blank first frame is among blank-frames or black-frames",
    "MOTION_ABOVE_MAX": "fast movement may be what is to be learned",
    "BUCKET_UNDERSIZED": "batches hold one item, so no bucket is too small",
}


def test_every_issue_of_klippbok_is_found_or_left_out_for_a_reason() -> None:
    assert set().union(*OF_KLIPPBOK.values()) <= set(RULES)
    assert len(OF_KLIPPBOK) + len(WITHOUT_MEANING_HERE) == 26
