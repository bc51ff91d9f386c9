"""Every key belongs to an area: on Modal a key without one cannot be read or written."""

import inspect
from collections.abc import Callable
from typing import get_args

import pytest

from training import store_keys
from training.catalogue.weights import WeightFile
from training.store_keys import Area, RunKeys, area
from training.vocabulary import StageKey

VALUES: dict[str, object] = {
    "file": WeightFile("owner/repo", "file.safetensors"),
    "base": WeightFile("owner/repo", "base.safetensors"),
    "number": 1,
    "kind": "latents",
    "key": StageKey("train", "main"),
    "attempt": 1,
    "expert": "main",
}
# Markers are file names, not whole keys.
NOT_KEYS = {"area", "is_written_once", "marker", "of_marker"}


def makers(owner: object) -> dict[str, Callable[..., object]]:
    """Return the functions of a module or object that make keys."""
    names = (name for name in dir(owner) if not name.startswith("_") and name not in NOT_KEYS)
    found = {name: getattr(owner, name) for name in names}
    home = store_keys.__name__
    return {n: its for n, its in found.items() if inspect.isroutine(its) and its.__module__ == home}


def made(make: Callable[..., object]) -> object:
    names = inspect.signature(make).parameters
    return make(*(VALUES.get(name, "1") for name in names))


RUN = RunKeys("1", "annika")
PROPERTIES = [
    name
    for name, its in vars(RunKeys).items()
    if isinstance(its, property) and name not in NOT_KEYS
]


@pytest.mark.parametrize("name", makers(store_keys))
def test_every_key_of_the_module_has_an_area(name: str) -> None:
    assert area(str(made(makers(store_keys)[name]))) in get_args(Area)


@pytest.mark.parametrize("name", [*makers(RUN), *PROPERTIES])
def test_every_key_of_a_run_has_an_area(name: str) -> None:
    found = getattr(RUN, name)
    key = made(found) if callable(found) else found

    assert area(str(key)) in get_args(Area)


def test_a_marker_names_its_run() -> None:
    assert RunKeys.of_marker(RUN.marker) == RUN
