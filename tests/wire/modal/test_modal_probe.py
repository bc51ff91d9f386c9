"""`lorabot doctor --probe`: containers that find out how the service behaves."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from bot.deploy.probe import facts
from bot.deploy.probe.findings import START
from bot.doctor.finding import CheckResult
from tests.wire.modal.command_line import Result, lorabot, lorabot_alone
from tests.wire.modal.loopback.api import Loopback
from training.deployment.image_pins import IMAGE_BUILDER, MUSUBI_PYTHON
from training.deployment.image_recipes import images_of

DOCTOR = ("doctor", "--json", "--probe", "--backend", "modal", "--app", "team")
BUSY = "too many layers in volume. Please wait and retry."
Hear = Callable[[str, Any], None]


@pytest.fixture
def hear(shared: Loopback) -> Iterator[Callable[[Hear], None]]:
    """Return a function that lets the test see, change or refuse each request."""
    router, before = shared.plane.router, shared.plane.router.heard

    def set_hear(hears: Hear) -> None:
        router.heard = hears

    yield set_hear
    router.heard = before
    shared.settings.is_spend_limit_reached = False


def test_each_line_says_what_was_found_and_what_follows(
    shared: Loopback, hear: Callable[[Hear], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORABOT_ENGINE", "musubi")
    heard: list[tuple[str, Any]] = []
    hear(lambda name, request: heard.append((name, request)))

    lines = probed(lorabot(*DOCTOR))

    images = list(map(facts.image_check, images_of("musubi")))
    wanted = [facts.RENAME, facts.COMMIT, facts.LISTING, facts.PUT, facts.DISK, *images]
    wanted += [facts.WRITES]
    assert [line.check for line in lines] == wanted
    # The stand-in builds no images, so the trainer's interpreter is missing from the GPU image.
    (gpu,) = (line for line in lines if line.check == facts.image_check("gpu"))
    assert (gpu.status, {line.status for line in lines if line is not gpu}) == ("failed", {"fine"})
    assert gpu.text.startswith("Its imports fail: ")
    assert MUSUBI_PYTHON in gpu.text
    assert "Run lorabot deploy" in gpu.fix
    assert "60 puts and 60 removals" in lines[-1].text
    assert "a reload with an open file is refused" in lines[1].text
    # 20 in a folder, one put through the API, one committed by a container.
    assert lines[2].text.startswith("22 files have the same size in a mount and in the Volume's ")
    assert "the same time" in lines[2].text
    assert gpus(heard) == set()
    assert builders(heard) == {IMAGE_BUILDER}
    assert "team-probe" not in shared.plane.names.of_kind("Volume")
    assert "team-probe" not in shared.plane.names.of_kind("Dict")


@pytest.mark.slow
def test_a_service_that_would_lose_work_is_reported(
    shared: Loopback, hear: Callable[[Hear], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORABOT_ENGINE", "rehearsal")
    heard: Counter[str] = Counter()

    def misbehave(name: str, request: Any) -> None:
        heard[name] += 1
        if name == "DictUpdate":
            request.if_not_exists = False
        if name == "VolumeCommit":
            raise GRPCError(Status.ABORTED, "volume busy")
        if name == "VolumeRemoveFile" and heard[name] > 46:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, BUSY)

    hear(misbehave)

    lines = {line.check: line for line in probed(lorabot(*DOCTOR))}

    assert lines[facts.RENAME].text == "It fails on Modal: volume busy"
    assert "A commit fails while another container reads: volume busy." in lines[facts.COMMIT].text
    assert "both took 50 and neither took 0" in lines[facts.PUT].text
    assert all(lines[check].status == "failed" for check in (facts.RENAME, facts.COMMIT, facts.PUT))
    assert lines[facts.WRITES].text.startswith("refused after 47 puts and 46 removals in ")


def test_a_service_that_refuses_each_container_is_reported_line_by_line(
    shared: Loopback, hear: Callable[[Hear], None]
) -> None:
    def spend_all_once_the_app_runs(name: str, request: Any) -> None:
        shared.settings.is_spend_limit_reached |= name == "FunctionMap"
        if name == "VolumePutFiles":
            raise GRPCError(Status.RESOURCE_EXHAUSTED, BUSY)

    hear(spend_all_once_the_app_runs)

    lines = {line.check: line for line in probed(lorabot(*DOCTOR))}

    writes, commit = lines.pop(facts.WRITES), lines.pop(facts.COMMIT)
    assert set(lines) >= {facts.RENAME, facts.PUT, facts.DISK, facts.image_check("gpu")}
    assert {line.status for line in lines.values()} == {"failed"}
    assert {line.text for line in lines.values()} == {
        "The spend limit of the workspace on Modal is reached."
    }
    assert all("modal.com/settings/usage" in line.fix for line in lines.values())
    assert commit.text == f"It fails on Modal: {BUSY}"
    assert writes.status == "failed"
    assert writes.text.startswith("refused after 0 puts and 0 removals in ")
    assert writes.text.endswith(f": {BUSY} A stage makes 3 a minute.")


def test_without_a_container_the_start_is_reported_as_failed(
    shared: Loopback, hear: Callable[[Hear], None]
) -> None:
    def spend_all(name: str, _request: Any) -> None:
        shared.settings.is_spend_limit_reached |= name == "AppCreate"

    hear(spend_all)

    start, *others = probed(lorabot(*DOCTOR))

    assert (start.check, start.status) == (START, "failed")
    assert "spend limit" in start.text
    assert {line.status for line in others} == {"not checked"}
    assert {line.text for line in others} == {"no container could be started"}


def test_without_a_token_nothing_is_probed(shared: Loopback) -> None:
    result = lorabot_alone(shared, "doctor", "--json", "--probe", env={"MODAL_TOKEN_ID": ""})

    found = {line["check"]: line for line in result.json()}
    assert result.code == 1
    assert found["Modal token"]["status"] == "failed"
    assert not any(check.startswith("probe") for check in found)


def test_this_machine_alone_cannot_be_probed() -> None:
    result = lorabot("doctor", "--probe", "--backend", "local")

    assert result.code == 1
    assert "Leave out --backend local." in result.err


def probed(result: Result) -> list[CheckResult]:
    """Return the lines of the probe."""
    found = [CheckResult(**line) for line in result.json()]
    return [line for line in found if line.check.startswith("probe")]


def builders(heard: list[tuple[str, Any]]) -> set[str]:
    return {request.builder_version for name, request in heard if name == "ImageGetOrCreate"}


def gpus(heard: list[tuple[str, Any]]) -> set[str]:
    functions: list[api_pb2.Function] = [
        request.function for name, request in heard if name == "FunctionCreate"
    ]
    assert functions
    return {its.resources.gpu_config.gpu_type for its in functions} - {""}
