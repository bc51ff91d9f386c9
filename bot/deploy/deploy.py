"""Deploys to Modal: checks the prerequisites, then deploys the stages and the bot."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bot.deploy.account import ModalAccount
from bot.deploy.checks import DeploymentChecks, deploy_command, log_command, secret_command
from bot.deploy.operator import runtime_to_deploy
from bot.deploy.remembered_settings import VARIABLES, RememberedSettings, last_deploy
from bot.hosting.startup_report import StartupReport
from bot.messages.figures import duration
from bot.web.health import why_unwell
from training.backends.modal.errors import (
    RAISE_SPEND_LIMIT,
    SPEND_LIMIT_REACHED,
    names_spend_limit,
)
from training.deployment.code_version import CODE_LABEL
from training.deployment.image_pins import BUILDER_VARIABLE, IMAGE_BUILDER
from training.deployment.names import DISCORD_KEYS, Deployment
from training.deployment.resources import BOT
from training.errors import BackendError, RequestError, TrainingError
from training.estimates.prices import LISTED, MachinePrices, live_machine_prices
from training.files.code_path import python_path
from training.pipeline.advance import open_runs
from training.pipeline.leases import hold_lease
from training.pipeline.runtime import Runtime, now
from training.ports import Leases
from training.wording import listed

# The stages come first, because the bot needs them as soon as it starts.
MODULES = ("training.modal_app", "bot.modal_app")
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """A finished deploy, the workspace it went to, and the bot's URL."""

    deployment: Deployment
    workspace: str
    url: str


def require_ready(deployment: Deployment) -> str:
    """Check the token, the secrets and the app names; return the workspace to deploy to.

    Raises:
        RequestError: There is no token, a secret is missing or incomplete, or another project
            has an app of that name.
        BackendError: Modal does not answer.
    """
    account = ModalAccount()
    name, checks = account.workspace(), DeploymentChecks(deployment, account)
    found = [checks.secret(secret, keys) for secret, keys in deployment.secrets.items()]
    missing = [finding for finding in found if finding.status != "fine"]
    if missing:
        causes = [f"{finding.check}: {finding.text}" for finding in missing]
        raise RequestError(
            f"Nothing was deployed to the workspace {name}. {' '.join(causes)}",
            "\n  ".join(finding.fix for finding in missing),
        )
    for app in (deployment.stages_app, deployment.bot_app):
        if (its := account.labels(app)) is not None and CODE_LABEL not in its:
            raise RequestError(
                f"Nothing was deployed: the workspace {name} has an app {app} that belongs to "
                "another project and would be replaced.",
                "Choose another name with --app.",
            )
    return name


def deploy(name: str, environment: Mapping[str, str], tell: Callable[[str], None]) -> Deployed:
    """Deploy the stages, then the bot, and wait until the bot serves.

    Args:
        name: Name of the deployment.
        environment: This machine's environment; settings that it lacks stay as last deployed.
        tell: Called with each line of output, Modal's included.

    Raises:
        RequestError: A prerequisite is missing, or another deploy is running.
        BackendError: Modal refuses, or the bot does not start.
    """
    where = require_ready(Deployment(name=name))
    runtime = runtime_to_deploy(name)
    with alone(runtime.leases):
        before = last_deploy(runtime.store)
        settings = RememberedSettings.merge(environment, before)
        deployment = replace(settings.deployment(name), deploy=uuid.uuid4().hex)
        require_no_run_of_another_engine(runtime, deployment)
        for line in settings.lines():
            tell(line)
        if not before:
            # Save the settings first, so that an interrupted deploy does not lose them.
            settings.save(runtime.store)
        for module in MODULES:
            _deploy_app(module, _environment(deployment, settings), tell)
            settings.save(runtime.store)
    url = ModalAccount().server_url(deployment.bot_app, "Bot")
    if url is None:
        raise BackendError(
            "The deployed bot has no URL.",
            f"Run lorabot doctor --backend modal --app {name}.",
        )
    tell(f"Waiting for the bot to answer at {url}")
    _wait_for(url, deployment, tell)
    return Deployed(deployment, where, url)


@contextmanager
def alone(leases: Leases) -> Generator[None]:
    """Hold the deploy lease while the body runs.

    Raises:
        RequestError: Another deploy is running.
    """

    def refuse() -> None:
        raise RequestError(
            "Another deploy of this deployment is running or has just ended.",
            "Wait a minute, then deploy again.",
        )

    with hold_lease(leases, "deploy", wait=refuse):
        yield


def require_no_run_of_another_engine(runtime: Runtime, deployment: Deployment) -> None:
    """Raise if open runs need an engine other than the one being deployed.

    Raises:
        RequestError: At least one open run needs another engine.
    """
    others = [
        name
        for guild, name in open_runs(runtime)
        if runtime.log(guild, name).spec().engine != deployment.engine
    ]
    if others:
        raise RequestError(
            f"Nothing was deployed: these open runs do not use {deployment.engine} and would fail: "
            f"{listed(others)}.",
            "Wait for them or cancel them, or create another deployment with --app.",
        )


def current_prices() -> MachinePrices:
    """Return this workspace's current prices, or the built-in list if they cannot be read."""
    try:
        return live_machine_prices(ModalAccount().rates(), now().date()) or LISTED
    except TrainingError:
        return LISTED


def _deploy_app(module: str, environment: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Run the `modal deploy` command on a module.

    Raises:
        BackendError: Modal refuses.
    """
    command = (sys.executable, "-m", "modal", "deploy", "-m", module)
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as running:
        assert running.stdout is not None  # stdout is a pipe
        is_limit_reached = False
        for line in running.stdout:
            is_limit_reached |= names_spend_limit(line)
            tell(line.rstrip())
    if running.returncode and is_limit_reached:
        raise BackendError(
            f"{module} was not deployed. {SPEND_LIMIT_REACHED}",
            f"{RAISE_SPEND_LIMIT} Then deploy again.",
        )
    if running.returncode:
        raise BackendError(
            f"Deploying {module} failed with exit code {running.returncode}.",
            "Fix the error printed above and deploy again.",
        )


def _environment(deployment: Deployment, settings: RememberedSettings) -> dict[str, str]:
    """Return the environment for `modal deploy`: the current one, the settings and a PYTHONPATH."""
    named = {name: value for name, value in deployment.variables().items() if value is not None}
    # Leave out the token: deploying does not need it, and containers get it from a secret.
    others = {*VARIABLES, "LORABOT_DISCORD_TOKEN"}
    return {
        **{name: value for name, value in os.environ.items() if name not in others},
        **settings.variables,
        **named,
        BUILDER_VARIABLE: IMAGE_BUILDER,
        "PYTHONPATH": python_path(),
        # Modal prints check marks, which cannot be encoded when writing to a pipe on Windows.
        "PYTHONUTF8": "1",
    }


def _wait_for(url: str, deployment: Deployment, tell: Callable[[str], None]) -> None:
    """Wait until the new copy of the bot has started and answers; print what it waits for.

    Raises:
        BackendError: The bot cannot start, or does not answer in time.
    """
    checks = DeploymentChecks(deployment, ModalAccount())
    deadline = time.monotonic() + BOT.startup_seconds
    told = ""
    while True:
        report, why = checks.startup_report(), why_unwell(url)
        if report is not None and report.cause:
            raise _cannot_start(report, deployment)
        if report is not None and why is None:
            return
        waits_for = "the new copy to start (Modal pulls the image)"
        if report is not None:
            waits_for = f"the new copy: the bot {why or 'is still the old one'}"
        if waits_for != told:
            tell(f"Waiting for {waits_for}; at most {duration(BOT.startup_seconds)}")
            told = waits_for
        if time.monotonic() >= deadline:
            raise BackendError(
                f"Everything is deployed, but the bot at {url} {why or 'is still the old one'}.",
                f"See the log: {log_command(deployment)}; then run {deploy_command(deployment)}.",
            )
        time.sleep(_POLL_SECONDS)


def _cannot_start(report: StartupReport, deployment: Deployment) -> BackendError:
    steps = [report.fix] if report.fix else []
    if DISCORD_KEYS[0] in report.cause:
        secret = secret_command(deployment.discord_secret, DISCORD_KEYS, exists=True)
        steps.append(f"Set the token: {secret}")
    steps.append(f"See the log: {log_command(deployment)}; then run {deploy_command(deployment)}.")
    return BackendError(
        f"Everything is deployed, but the bot cannot start: {report.cause}", "\n  ".join(steps)
    )
