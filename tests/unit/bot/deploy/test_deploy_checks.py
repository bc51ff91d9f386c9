"""How the doctor handles answers that Modal may give but the loopback server does not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from bot.deploy.account import DeployedFunction, ModalAccount, SecretState
from bot.deploy.checks import modal_findings
from bot.doctor.finding import CheckResult
from training.deployment.code_version import (
    BOT_CODE,
    CODE_LABEL,
    ENGINE_LABEL,
    STAGES_CODE,
    code_version,
)
from training.deployment.names import Deployment
from training.deployment.resources import FUNCTIONS
from training.errors import BackendError, RequestError, TrainingError

T = TypeVar("T")
TEAM = Deployment(name="team")
NO_ANSWER = BackendError("Modal does not answer.", "Try again.")


def as_deployed(function: DeployedFunction) -> DeployedFunction:
    return function


@dataclass(frozen=True, kw_only=True)
class Studio(ModalAccount):
    """A workspace with a deployment of this version; each test changes one answer."""

    volumes_of_version_2: tuple[str, ...] = ()
    change: Callable[[DeployedFunction], DeployedFunction] = as_deployed
    failures: Mapping[str, TrainingError] = field(default_factory=dict[str, TrainingError])

    def _answer(self, question: str, answer: T) -> T:
        if question in self.failures:
            raise self.failures[question]
        return answer

    def workspace(self) -> str:
        return self._answer("workspace", "studio")

    def secret_state(self, name: str, keys: tuple[str, ...]) -> SecretState:
        return "there"

    def labels(self, app: str) -> Mapping[str, str]:
        packages = STAGES_CODE if app.endswith("-stages") else BOT_CODE
        return {CODE_LABEL: code_version(*packages), ENGINE_LABEL: "musubi"}

    def volume_version(self, name: str) -> Literal[1, 2]:
        return self._answer("volumes", 2 if name in self.volumes_of_version_2 else 1)

    def has_dictionary(self, name: str) -> bool:
        return True

    def entry(self, dictionary: str, key: str) -> None:
        return None

    def deployed_function(self, app: str, name: str) -> DeployedFunction:
        its = next(resources for known, resources in FUNCTIONS.items() if known == name)
        function = DeployedFunction(
            gpu=its.gpu,
            cpu=its.cpu,
            memory_mib=its.memory_gib * 1024,
            timeout_seconds=its.timeout_seconds,
            retries=its.retries,
            mounts=frozenset(map(TEAM.mount_path, its.areas)),
        )
        return self.change(function)

    def server_url(self, app: str, name: str) -> None:
        return None

    def rates(self) -> Mapping[str, float]:
        return self._answer("rates", dict[str, float]())


def look(studio: Studio, *, is_wanted: bool = True) -> dict[str, CheckResult]:
    return {its.check: its for its in modal_findings(TEAM, studio, is_wanted=is_wanted)}


def test_volumes_of_the_second_version_are_refused() -> None:
    volumes = look(Studio(volumes_of_version_2=("team-runs",)))["Modal Volumes"]

    assert volumes.status == "failed"
    assert volumes.text.startswith("team-runs: version 2")


def test_a_gpu_may_have_its_other_name() -> None:
    def renamed(found: DeployedFunction) -> DeployedFunction:
        return replace(found, gpu=tuple("A10G" if its == "A10" else its for its in found.gpu))

    assert look(Studio(change=renamed))["deployed Functions"].status == "fine"


def test_another_order_of_gpus_is_a_difference() -> None:
    def reversed_gpus(found: DeployedFunction) -> DeployedFunction:
        return replace(found, gpu=found.gpu[::-1])

    assert "train has GPUs" in look(Studio(change=reversed_gpus))["deployed Functions"].text


def test_prices_that_the_account_may_not_see_fail_no_check() -> None:
    refusal = RequestError("Only managers may ask.", "")

    prices = look(Studio(failures={"rates": refusal}))["Modal prices"]

    assert prices.status == "not checked"
    assert "Only managers may ask. The price list of 2026-07-01 is used." in prices.text


def test_an_outage_of_modal_is_reported_even_without_wanting_modal() -> None:
    found = look(Studio(failures={"workspace": NO_ANSWER}), is_wanted=False)

    assert found["Modal token"].status == "failed"
    assert {its.status for its in found.values()} == {"failed", "not checked"}


def test_a_check_that_modal_refuses_does_not_stop_the_next() -> None:
    found = look(Studio(failures={"volumes": NO_ANSWER}))

    assert found["Modal Volumes"].status == "failed"
    assert found["Modal Dicts"].status == "fine"
