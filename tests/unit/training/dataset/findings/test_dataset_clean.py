"""A set without flaws gives no finding, even if it is dark, slow or full of text."""

from pathlib import Path

import pytest

from tests.media import write_zip
from tests.unit.training.dataset.findings.clean_set import SHOTS, STILLS, clean_files
from training.dataset.inspect import inspect_zip


@pytest.mark.slow
def test_camera_moves_over_photographs_give_no_finding_at_all(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "clean.zip", clean_files())

    report = inspect_zip(path, trigger="ann1ka")

    assert report.findings == ()
    assert (len(report.clips), len(report.images)) == (len(SHOTS), len(STILLS))
    assert all(sample.is_copied for sample in report.samples)
