"""Faults of a deployment, applied to the control plane; each returns a function to undo it."""

from collections.abc import Callable

from tests.wire.modal.loopback.api import Loopback
from training.deployment.code_version import CODE_LABEL, ENGINE_LABEL


def another_code(loopback: Loopback) -> Callable[[], object]:
    """Let the stages run other code than this."""
    return _labelled(loopback, "team-stages", CODE_LABEL, "0123")


def another_engine(loopback: Loopback) -> Callable[[], object]:
    """Let the bot be of a deployment with another engine than its stages."""
    return _labelled(loopback, "team", ENGINE_LABEL, "musubi")


def _labelled(loopback: Loopback, name: str, label: str, value: str) -> Callable[[], object]:
    app = loopback.plane.apps.deployed(name)
    assert app is not None
    before = app.labels
    app.labels = {**before, label: value}
    return lambda: setattr(app, "labels", before)


def less_memory(loopback: Loopback) -> Callable[[], object]:
    """Give the trainings less memory than this version asks for."""
    app = loopback.plane.apps.deployed("team-stages")
    assert app is not None
    active = loopback.plane.functions.get(app.tags["train"]).active
    assert active is not None
    resources = [ranked.function.resources for ranked in active.data.ranked_functions]
    before = resources[0].memory_mb

    def set_to(memory_mb: int) -> None:
        for its in resources:
            its.memory_mb = memory_mb

    set_to(1024)
    return lambda: set_to(before)


def no_answer(loopback: Loopback) -> Callable[[], object]:
    """Let the servers have an address at which nobody listens."""
    servers = loopback.plane.servers
    before = servers.url_of
    functions = loopback.plane.functions
    functions.url_of = lambda record: "http://127.0.0.1:9" if before(record) else ""
    return lambda: setattr(functions, "url_of", before)
