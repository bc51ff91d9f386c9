"""A store in a container of the loopback, called from a test; both see its files."""

import uuid
from collections.abc import Callable
from typing import Any, cast

from tests.wire.modal.installation import ROOT
from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.store_app import AREAS as AREAS
from training.ports import Store

APP = ROOT / "tests/wire/modal/store_app.py"


class _Asked:
    """Calls every method in the container."""

    def __init__(self) -> None:
        self._ask = deployed("store", "ask")
        self._test = uuid.uuid4().hex

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def ask(*arguments: object) -> Any:
            answer = self._ask.remote(self._test, method, arguments)
            return iter(answer) if method == "walk" else answer

        return ask


def mounted_store(loopback: Loopback) -> Callable[[], Store]:
    """Deploy the app, and return what makes an empty store in its container."""
    loopback.deploy(APP, cwd=ROOT)

    def make() -> Store:
        store = cast("Store", _Asked())  # its methods are those that it is asked for
        for folder in ("guilds/1/runs", "guilds/1/datasets", "models"):
            store.delete(folder)
        return store

    return make
