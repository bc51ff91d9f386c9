"""What every `Claims` promises; each copy of the bot has its own object for the same claims."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from storage.local.claims import FileClaims
from storage.modal.claims import ModalClaims
from tests.at_once import at_once
from tests.memory_dict import MemoryDict
from training.ports import Claims

Copy = Callable[[], Claims]


@pytest.fixture(params=["file", "memory", "modal"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Copy:
    if request.param == "file":
        return lambda: FileClaims(tmp_path / "claims")
    entries = MemoryDict() if request.param == "memory" else request.getfixturevalue("new_dict")()
    return lambda: ModalClaims(entries)


def test_only_the_first_caller_has_the_claim(copy: Copy) -> None:
    first, second = copy(), copy()

    assert first.claim("1")
    assert not second.claim("1")
    assert not first.claim("1")


def test_another_name_is_another_claim(copy: Copy) -> None:
    claims = copy()

    assert [claims.claim(name) for name in ("1", "2", "1/2", "../1")] == [True] * 4


def test_a_claim_outlives_its_process(copy: Copy) -> None:
    copy().claim("1")

    assert not copy().claim("1")


def test_of_many_concurrent_callers_exactly_one_has_each_claim(copy: Copy) -> None:
    names = [str(number) for number in range(25)]
    won: list[str] = []

    def claim(claims: Claims) -> None:
        won.extend(name for name in names if claims.claim(name))

    at_once([partial(claim, copy()) for _ in range(8)])

    assert sorted(won) == sorted(names)


def test_a_note_outlives_its_process_until_it_is_forgotten(copy: Copy) -> None:
    claims = copy()
    for name, data in (("1", b'{"a":1}'), ("2", b"{}")):
        claims.claim(name)
        claims.note(name, data)
    claims.note("1", b'{"a":2}')

    there = sorted(copy().notes())
    for name in ("1", "1", "3"):
        claims.forget(name)

    assert there == [b'{"a":2}', b"{}"]
    assert copy().notes() == [b"{}"]
    assert not copy().claim("1")
