"""Claims as files: between processes, and when they expire."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from storage.local.claims import KEPT_SECONDS, FileClaims

NAMES = [str(number) for number in range(200)]


def claim_all(folder: Path) -> list[str]:
    claims = FileClaims(folder)
    return [name for name in NAMES if claims.claim(name)]


def test_of_several_processes_exactly_one_has_each_claim(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as processes:
        won = list(processes.map(claim_all, [tmp_path] * 3))

    assert sorted(name for names in won for name in names) == sorted(NAMES)


def test_claims_older_than_a_day_are_forgotten_and_younger_ones_kept(tmp_path: Path) -> None:
    now = 1_000_000.0
    claims = FileClaims(tmp_path, clock=lambda: now)
    claims.claim("old")
    now += KEPT_SECONDS - 10
    claims.claim("young")
    now += 20
    FileClaims(tmp_path, clock=lambda: now).claim("new")

    assert len(list(tmp_path.iterdir())) == 2
    assert not claims.claim("young")
    assert claims.claim("old")


def test_old_claims_are_pruned_only_now_and_then(tmp_path: Path) -> None:
    now = 1_000_000.0
    claims = FileClaims(tmp_path, clock=lambda: now)
    now += KEPT_SECONDS
    claims.claim("first")  # prunes
    (tmp_path / "stale").touch()
    os.utime(tmp_path / "stale", (0, 0))

    now += 60 * 60 - 1
    claims.claim("second")
    kept = (tmp_path / "stale").exists()
    now += 2
    claims.claim("third")

    assert kept
    assert not (tmp_path / "stale").exists()


def test_a_missing_folder_is_an_error_and_not_a_claim(tmp_path: Path) -> None:
    claims = FileClaims(tmp_path / "claims")
    (tmp_path / "claims").rmdir()

    with pytest.raises(FileNotFoundError):
        claims.claim("1")
