"""What the doctor says about each measurement on Modal."""

import pytest

from bot.deploy.probe import facts
from bot.deploy.probe.findings import START, finding_of
from bot.doctor.finding import CheckResult

RENAMED = facts.FolderRename(files=20, fsync_error="", rename_error="", files_seen=20)
WRITTEN = facts.PutsAndRemoves(puts=60, removes=60, seconds=31.2, refusal="")
COMMITTED = facts.CommitWhileReading(
    commit_seconds=1.24, commit_error="", open_reload_error="volume busy", is_seen=True
)
LISTED = facts.MountAndListing(files=22, other_sizes=0, other_times=0)
PUT = facts.PutIfAbsent(keys=50, taken_twice=0, taken_by_none=0)
DISK = facts.DiskUsage(volume_free_bytes=10**15, own_free_bytes=512 << 30)
IMPORTED = facts.ImageImports(image="gpu", error="")


def but(fact: facts.Fact, **changes: object) -> CheckResult:
    """Return the line of a measurement that differs in these fields."""
    return finding_of(fact.model_copy(update=changes))


@pytest.mark.parametrize("fact", [RENAMED, WRITTEN, COMMITTED, LISTED, PUT, DISK, IMPORTED])
def test_good_measurements_pass(fact: facts.Fact) -> None:
    found = finding_of(fact)

    assert found.status == "fine"
    assert found.fix == ""


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (but(RENAMED, fsync_error="Invalid argument"), "fsync on a Volume fails: Invalid argument"),
        (but(RENAMED, files_seen=19), "19 of the 20 files are visible"),
        (but(COMMITTED, commit_error="volume busy"), "fails while another container reads: volume"),
        (but(COMMITTED, is_seen=False), "does not see what was committed"),
        (but(LISTED, other_sizes=1), "shows 1 of 22 files with sizes that differ"),
        (but(LISTED, files=0), "0 of 0 files"),
        (
            but(PUT, taken_twice=3),
            "both took 3 and neither took 0: two containers could run the same",
        ),
        (but(PUT, taken_by_none=1), "both took 0 and neither took 1"),
        (but(DISK, volume_free_bytes=10**9), "954 MiB free on a Volume"),
        (but(IMPORTED, error="ImportError: libGL.so.1"), "Its imports fail: ImportError: libGL"),
    ],
)
def test_measurements_that_would_lose_work_fail_with_a_fix(found: CheckResult, text: str) -> None:
    assert found.status == "failed"
    assert text in found.text
    assert found.fix


def test_a_refused_rename_of_a_folder_does_no_harm() -> None:
    found = but(RENAMED, rename_error="Directory not empty.")

    assert found.status == "fine"
    assert "refused (Directory not empty), but no stage needs that" in found.text


def test_other_times_of_files_do_no_harm() -> None:
    found = but(LISTED, other_times=22)

    assert found.status == "fine"
    assert "22 have different times; the bot reloads its mount once for each file" in found.text


def test_back_pressure_is_reported_with_the_number_of_writes() -> None:
    found = but(WRITTEN, puts=47, removes=46, refusal="too many layers in volume.")

    assert found.status == "fine"
    assert "refused after 47 puts and 46 removals in 31 s: too many layers in volume." in found.text
    assert "A stage makes about 3 a minute; if one is refused, it waits" in found.text


def test_a_volume_that_takes_fewer_writes_than_one_stage_makes_fails() -> None:
    found = but(WRITTEN, puts=1, removes=1, refusal="too many layers in volume.")

    assert found.status == "failed"
    assert "A stage makes 3 a minute." in found.text
    assert "Try again in a few minutes" in found.fix


def test_a_check_that_modal_refuses_fails_under_its_name() -> None:
    found = finding_of(facts.Refused(check=facts.COMMIT, cause="It fails on Modal: no."))
    start = finding_of(facts.Refused(check="", cause="The spend limit.", fix="Raise it."))

    assert (found.check, found.status) == (facts.COMMIT, "failed")
    assert "Try again in a few minutes" in found.fix
    assert start == CheckResult(START, "failed", "The spend limit.", "Raise it.")
