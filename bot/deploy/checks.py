"""Checks of a Modal deployment through the operator's own token."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

from pydantic import ValidationError

from bot.deploy.account import ModalAccount
from bot.deploy.probe.findings import probe_findings
from bot.doctor.finding import CheckResult, failed, fine, refused, unchecked
from bot.hosting.startup_report import StartupReport, report_key
from bot.web.health import why_unwell
from training.deployment.code_version import (
    BOT_CODE,
    CODE_LABEL,
    DEPLOY_LABEL,
    ENGINE_LABEL,
    STAGES_CODE,
    code_version,
    engine_of,
)
from training.deployment.modal_prices import RATES
from training.deployment.names import Deployment, Purpose
from training.deployment.resources import BOT_FUNCTIONS, FUNCTIONS, FunctionName
from training.errors import BackendError, TrainingError
from training.estimates.prices import (
    CPU_RATE,
    HOUR_SECONDS,
    LISTED,
    LISTED_ON,
    MEMORY_RATE,
    STORAGE_RATE,
    listed_prices,
)

TOKEN, VOLUMES, DICTS = "Modal token", "Modal Volumes", "Modal Dicts"
STAGES, FUNCTIONS_THERE = "stages' app", "deployed Functions"
BOT_APP, HEALTH, PRICES = "bot's app", "bot's server", "Modal prices"
# The built-in list has rounded prices, so a smaller relative difference does not count as a change.
_ROUNDING = 0.01
# Two names for one GPU; Modal may report either.
_SAME_GPU = {"A10G": "A10"}


def deploy_command(deployment: Deployment) -> str:
    """Return the command that deploys again; it uses the settings of the last deploy."""
    return f"lorabot deploy --app {deployment.name}"


def log_command(deployment: Deployment) -> str:
    return f"modal app logs {deployment.bot_app}"


def secret_command(name: str, keys: tuple[str, ...], *, exists: bool = False) -> str:
    """Return the command that creates a secret, or replaces all keys of an existing one."""
    values = " ".join(f"{key}=..." for key in keys)
    return f"modal secret create {name} {values}{' --force' if exists else ''}"


def modal_findings(
    deployment: Deployment, account: ModalAccount, *, is_wanted: bool, is_probed: bool = False
) -> Iterator[CheckResult]:
    """Yield the result of each check of a deployment as soon as it is known.

    Args:
        deployment: The deployment to check.
        account: The operator's account on Modal.
        is_wanted: Whether the operator asked for Modal, so that a missing Modal token is a failure.
        is_probed: Whether to start containers that test Modal itself.
    """
    try:
        name = account.workspace()
        own = engine_of(account.labels(deployment.stages_app))
    except TrainingError as error:
        # Report a network failure as a failed check even if the operator did not ask for Modal.
        if is_wanted or isinstance(error, BackendError):
            yield refused(TOKEN, error)
        else:
            yield unchecked(TOKEN, f"{error.cause} To host the bot on Modal: {error.fix}")
        checks = DeploymentChecks(deployment, account).by_name()
        yield from (unchecked(check, "this check needs a Modal token") for check in checks)
        return
    yield fine(TOKEN, f"workspace {name}")
    deployed = replace(deployment, engine=own or deployment.engine)
    for check, run in DeploymentChecks(deployed, account).by_name().items():
        try:
            yield run()
        except TrainingError as error:
            yield refused(check, error)
    if is_probed:
        yield from probe_findings(deployed)


@dataclass(frozen=True, slots=True)
class DeploymentChecks:
    """The checks of one deployment; each raises a `TrainingError` if Modal refuses to answer."""

    deployment: Deployment
    account: ModalAccount

    def by_name(self) -> dict[str, Callable[[], CheckResult]]:
        secrets = {
            f"secret {name}": partial(self.secret, name, keys)
            for name, keys in self.deployment.secrets.items()
        }
        return {
            **secrets,
            VOLUMES: self._volumes,
            DICTS: self._dictionaries,
            STAGES: lambda: self._app(STAGES, self.deployment.stages_app, STAGES_CODE),
            FUNCTIONS_THERE: self._functions,
            BOT_APP: lambda: self._app(BOT_APP, self.deployment.bot_app, BOT_CODE),
            HEALTH: self._health,
            PRICES: self._prices,
        }

    def secret(self, name: str, keys: tuple[str, ...]) -> CheckResult:
        check, state = f"secret {name}", self.account.secret_state(name, keys)
        if state == "there":
            return fine(check, f"has {', '.join(keys)}; the values cannot be read")
        text = "It does not exist." if state == "missing" else f"It lacks {', '.join(keys)}."
        return failed(check, text, secret_command(name, keys, exists=state != "missing"))

    def startup_report(self) -> StartupReport | None:
        """Return the startup report of this deploy; None if there is no readable one yet."""
        progress, key = self.deployment.dictionary("progress"), report_key(self.deployment.deploy)
        stored = self.account.entry(progress, key)
        try:
            return StartupReport.model_validate_json(str(stored)) if stored is not None else None
        except ValidationError:
            return None

    def _redeploy(self, check: str, text: str) -> CheckResult:
        return failed(check, text, deploy_command(self.deployment))

    def _volumes(self) -> CheckResult:
        names = [self.deployment.volume(area) for area in self.deployment.areas]
        versions = {name: self.account.volume_version(name) for name in names}
        if missing := [name for name, version in versions.items() if version is None]:
            return self._redeploy(
                VOLUMES, f"missing: {', '.join(missing)}; deploying creates them."
            )
        if wrong := [name for name, version in versions.items() if version != 1]:
            return failed(
                VOLUMES,
                f"{', '.join(wrong)}: version 2, which is not supported.",
                "Back up the Volumes' files, delete the Volumes with `modal volume delete`, and "
                "deploy again.",
            )
        return fine(VOLUMES, f"{', '.join(versions)}, version 1")

    def _dictionaries(self) -> CheckResult:
        names = [self.deployment.dictionary(purpose) for purpose in get_args(Purpose)]
        missing = [name for name in names if not self.account.has_dictionary(name)]
        if missing:
            count = f"{len(names) - len(missing)} of {len(names)} exist"
            return fine(DICTS, f"{count}; created when first needed: {', '.join(missing)}")
        return fine(DICTS, ", ".join(names))

    def _app(self, check: str, app: str, packages: tuple[str, ...]) -> CheckResult:
        found = self.account.labels(app)
        if found is None:
            return self._redeploy(check, f"{app} is not deployed.")
        if found.get(CODE_LABEL) != code_version(*packages):
            return self._redeploy(check, f"{app} runs a different version of the code.")
        engine = found.get(ENGINE_LABEL)
        if engine != self.deployment.engine:
            text = f"{app} uses {engine}, but the deployed stages use another engine."
            return self._redeploy(check, text)
        return fine(check, f"{app} runs this version and trains with {engine}")

    def _functions(self) -> CheckResult:
        stages_app = self.deployment.stages_app
        if self.account.labels(stages_app) is None:
            return unchecked(FUNCTIONS_THERE, f"{stages_app} is not deployed")
        if wrong := [text for name in FUNCTIONS if (text := self._difference(name))]:
            return self._redeploy(FUNCTIONS_THERE, f"{'; '.join(wrong)}.")
        return fine(FUNCTIONS_THERE, f"{len(FUNCTIONS)}, each with this version's resources")

    def _difference(self, name: FunctionName) -> str:
        """Return how a deployed Function differs from this version; "" if it does not."""
        deployment = self.deployment
        app = deployment.bot_app if name in BOT_FUNCTIONS else deployment.stages_app
        found, wanted = self.account.deployed_function(app, name), FUNCTIONS[name]
        if found is None:
            return f"{name} is missing"
        pairs: dict[str, tuple[object, object]] = {
            "GPUs": ([_SAME_GPU.get(gpu, gpu) for gpu in found.gpu], list(wanted.gpu)),
            "cores": (found.cpu, wanted.cpu),
            "MiB of memory": (found.memory_mib, round(wanted.memory_gib * 1024)),
            "seconds": (found.timeout_seconds, wanted.timeout_seconds),
            "retries": (found.retries, wanted.retries),
            "Volumes at": (sorted(found.mounts), sorted(map(deployment.mount_path, wanted.areas))),
        }
        differing = [
            f"{what} {got}, not {want}" for what, (got, want) in pairs.items() if got != want
        ]
        return f"{name} has {', '.join(differing)}" if differing else ""

    def _health(self) -> CheckResult:
        deployment = self.deployment
        url = self.account.server_url(deployment.bot_app, "Bot")
        if url is None:
            return self._redeploy(HEALTH, "The bot's web server has no URL.")
        newest = (self.account.labels(deployment.bot_app) or {}).get(DEPLOY_LABEL, "")
        report = replace(self, deployment=replace(deployment, deploy=newest)).startup_report()
        why = why_unwell(url)
        if report is not None and report.cause:
            serving = f"{url} {why}" if why else "The previous copy is still running"
            text = f"The last deploy's bot cannot start: {report.cause} {report.fix} {serving}."
            return failed(HEALTH, text, log_command(deployment))
        if why:
            return failed(HEALTH, f"{url} {why}.", log_command(deployment))
        return fine(HEALTH, f"{url} answers, and the bot is connected to Discord")

    def _prices(self) -> CheckResult:
        try:
            rates = self.account.rates()
        except TrainingError as error:
            return unchecked(
                PRICES, f"{error.cause.rstrip('.')}. The price list of {LISTED_ON} is used."
            )
        listed = _listed()
        if missing := [name for name in listed if name not in rates]:
            why = f"Modal has no price for {', '.join(missing)}; the list of {LISTED_ON} is used"
            return unchecked(PRICES, why)
        changed = [
            f"{name} ${usd:.4g} -> ${rates[name]:.4g}"
            for name, usd in listed.items()
            if abs(usd - rates[name]) > _ROUNDING * usd
        ]
        if changed:
            text = f"live; changed since the list of {LISTED_ON}: {', '.join(changed)}"
            return fine(PRICES, text)
        return fine(PRICES, f"live, as in the list of {LISTED_ON}")


def _listed() -> dict[str, float]:
    """Return the built-in prices by Modal's names, in dollars per hour (storage: per month)."""
    prices = listed_prices()
    return {
        **{name: prices.usd_per_hour(gpu) for gpu, name in RATES.items()},
        CPU_RATE: LISTED.core_second * HOUR_SECONDS,
        MEMORY_RATE: LISTED.gib_second * HOUR_SECONDS,
        STORAGE_RATE: LISTED.gib_month,
    }
