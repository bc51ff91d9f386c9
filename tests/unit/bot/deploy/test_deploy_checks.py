"""What the doctor makes of answers that Modal's service may give and the loopback does not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bot.deploy import checks
from bot.deploy.account import DeployedFunction
from bot.doctor.finding import CheckResult
from training.deployment.code_version import (
    BOT_CODE,
    CODE_LABEL,
    ENGINE_LABEL,
    STAGES_CODE,
    code_version,
)
from training.deployment.names import Deployment
from training.deployment.resources import FUNCTIONS, FunctionName
from training.errors import BackendError, RequestError

TEAM = Deployment(name="team")


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A workspace in which everything is as it should be; a test changes what it is about."""

    def answers(**changed: object) -> None:
        usual: dict[str, object] = {
            "workspace": _always("studio"),
            "secret_state": _always("there"),
            "volume_version": _always(1),
            "has_dictionary": _always(True),
            "labels": _labels,
            "deployed_function": _deployed,
            "server_url": _always(None),
            "rates": dict[str, float],
        }
        for name, answer in {**usual, **changed}.items():
            monkeypatch.setattr(checks.account, name, answer)

    answers()
    return answers


def look(*, is_wanted: bool = True) -> dict[str, CheckResult]:
    return {its.check: its for its in checks.modal_findings(TEAM, is_wanted=is_wanted)}


def test_volumes_of_the_second_version_are_refused(account: Callable[..., None]) -> None:
    def version(name: str) -> int:
        return 2 if name == "team-runs" else 1

    account(volume_version=version)

    volumes = look()["Modal Volumes"]

    assert volumes.status == "failed"
    assert volumes.text.startswith("team-runs: version 2")


def test_a_card_under_its_other_name_is_the_same(account: Callable[..., None]) -> None:
    def deployed(app: str, name: FunctionName) -> DeployedFunction:
        found = _deployed(app, name)
        return replace(found, gpu=tuple("A10G" if its == "A10" else its for its in found.gpu))

    account(deployed_function=deployed)

    assert look()["deployed Functions"].status == "fine"


def test_another_order_of_cards_is_a_difference(account: Callable[..., None]) -> None:
    def deployed(app: str, name: FunctionName) -> DeployedFunction:
        found = _deployed(app, name)
        return replace(found, gpu=found.gpu[::-1])

    account(deployed_function=deployed)

    assert "train has GPUs" in look()["deployed Functions"].text


def test_prices_that_the_account_may_not_see_fail_nothing(account: Callable[..., None]) -> None:
    account(rates=_raising(RequestError("Only managers may ask.", "")))

    prices = look()["Modal prices"]

    assert prices.status == "not checked"
    assert "Only managers may ask. The list of 2026-07-01 is used." in prices.text


def test_a_modal_that_does_not_answer_is_told_to_everybody(account: Callable[..., None]) -> None:
    account(workspace=_raising(BackendError("Modal does not answer.", "Try again.")))

    found = look(is_wanted=False)

    assert found["Modal token"].status == "failed"
    assert {its.status for its in found.values()} == {"failed", "not checked"}


def test_a_check_that_modal_refuses_does_not_stop_the_next(account: Callable[..., None]) -> None:
    account(volume_version=_raising(BackendError("Modal does not answer.", "Try again.")))

    found = look()

    assert found["Modal Volumes"].status == "failed"
    assert found["Modal Dicts"].status == "fine"


def _labels(app: str) -> dict[str, str]:
    packages = STAGES_CODE if app.endswith("-stages") else BOT_CODE
    return {CODE_LABEL: code_version(*packages), ENGINE_LABEL: "musubi"}


def _deployed(_app: str, name: FunctionName) -> DeployedFunction:
    its = FUNCTIONS[name]
    return DeployedFunction(
        gpu=its.gpu,
        cpu=its.cpu,
        memory_mib=its.memory_gib * 1024,
        timeout_seconds=its.timeout_seconds,
        retries=its.retries,
        mounts=frozenset(map(TEAM.mount_path, its.areas)),
    )


def _always(answer: object) -> Callable[..., object]:
    def ask(*_: object) -> object:
        return answer

    return ask


def _raising(error: Exception) -> Callable[..., object]:
    def ask(*_: object) -> object:
        raise error

    return ask
