"""Deploys to Modal: checks the prerequisites, then deploys the stages and the bot."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bot.deploy.account import labels, rates, server_url, workspace
from bot.deploy.checks import (
    deploy_command,
    log_command,
    secret_command,
    secret_finding,
    start_word,
)
from bot.deploy.operator import house_to_deploy
from bot.deploy.remembered_settings import VARIABLES, RememberedSettings, keep_told, read_told
from bot.hosting.startup_report import StartWord
from bot.web.health import why_unwell
from training.deployment.code_version import CODE_LABEL
from training.deployment.names import DISCORD_KEYS, Deployment
from training.deployment.resources import BOT
from training.errors import BackendError, RequestError, TrainingError
from training.estimates.prices import LISTED, MachinePrices, live_machine_prices
from training.files.code_path import python_path
from training.pipeline.advance import open_runs
from training.pipeline.leases import hold_lease
from training.pipeline.runtime import Runtime, now
from training.ports import Leases

# The stages first: a bot that starts finds what it hands runs to.
MODULES = ("training.modal_app", "bot.modal_app")
_LOOK_SECONDS = 1.0
_NAMED = 5  # of several runs


@dataclass(frozen=True, slots=True)
class Deployed:
    """A finished deploy and the bot's address."""

    deployment: Deployment
    workspace: str
    url: str


def require_ready(deployment: Deployment) -> str:
    """Return the workspace to deploy to, after checking what Modal cannot create itself.

    Raises:
        RequestError: There is no token, a secret is missing or incomplete, or another project
            has an app of that name.
        BackendError: Modal does not answer.
    """
    name = workspace()
    found = [secret_finding(secret, keys) for secret, keys in deployment.secrets.items()]
    missing = [finding for finding in found if finding.status != "fine"]
    if missing:
        causes = [f"{finding.check}: {finding.text}" for finding in missing]
        raise RequestError(
            f"Nothing was deployed to the workspace {name}. {' '.join(causes)}",
            "\n  ".join(finding.fix for finding in missing),
        )
    for app in (deployment.stages_app, deployment.bot_app):
        if (its := labels(app)) is not None and CODE_LABEL not in its:
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
        environment: The variables set here; others keep the last deploy's values.
        tell: Called with each line of output, Modal's included.

    Raises:
        RequestError: A prerequisite is missing, or another deploy is running.
        BackendError: Modal refuses, or the bot does not start.
    """
    where = require_ready(Deployment(name=name))
    runtime = house_to_deploy(name)
    with alone(runtime.leases):
        before = read_told(runtime.store)
        told = RememberedSettings.merge(environment, before)
        deployment = replace(told.deployment(name), deploy=uuid.uuid4().hex)
        require_no_run_of_another_engine(runtime, deployment)
        for line in told.lines():
            tell(line)
        if not before:
            # Remembered even if this deploy is interrupted.
            keep_told(runtime.store, told)
        for module in MODULES:
            _deploy_app(module, _environment(deployment, told), tell)
            keep_told(runtime.store, told)
    url = server_url(deployment.bot_app, "Bot")
    if url is None:
        raise BackendError(
            "The deployed bot has no address.",
            f"See lorabot doctor --backend modal --app {name}.",
        )
    tell(f"Waiting for the bot to answer at {url}")
    _wait_for(url, deployment)
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
    """Raise if open runs need another engine than the one to deploy.

    Raises:
        RequestError: There are such runs.
    """
    others = [
        name
        for guild, name in open_runs(runtime)
        if runtime.log(guild, name).spec().engine != deployment.engine
    ]
    if others:
        more = ", …" if len(others) > _NAMED else ""
        raise RequestError(
            f"Nothing was deployed: these open runs do not use {deployment.engine} and would fail: "
            f"{', '.join(others[:_NAMED])}{more}.",
            "Wait for them or cancel them, or create another deployment with --app.",
        )


def current_prices() -> MachinePrices:
    """Return this workspace's current prices, or the built-in list if Modal has none."""
    try:
        return live_machine_prices(rates(), now().date()) or LISTED
    except TrainingError:
        return LISTED


def _deploy_app(module: str, environment: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Run `modal deploy` on a module, as a person would."""
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
        assert running.stdout is not None  # it is a pipe
        for line in running.stdout:
            tell(line.rstrip())
    if running.returncode:
        raise BackendError(
            f"Deploying {module} failed with exit code {running.returncode}.",
            "Fix the error printed above and deploy again.",
        )


def _environment(deployment: Deployment, told: RememberedSettings) -> dict[str, str]:
    """Return the environment for `modal deploy`: the current one plus settings and this code."""
    named = {name: value for name, value in deployment.variables().items() if value is not None}
    # Containers get the token from a secret; deploying does not need it.
    others = {*VARIABLES, "LORABOT_DISCORD_TOKEN"}
    return {
        **{name: value for name, value in os.environ.items() if name not in others},
        **told.variables,
        **named,
        "PYTHONPATH": python_path(),
    }


def _wait_for(url: str, deployment: Deployment) -> None:
    """Wait until the new copy reports that it started and the bot answers.

    Raises:
        BackendError: It cannot start, or does not answer in time.
    """
    gives_up_at = time.monotonic() + BOT.startup_seconds
    while True:
        word, why = start_word(deployment), why_unwell(url)
        if word is not None and word.cause:
            raise _cannot_start(word, deployment)
        if word is not None and why is None:
            return
        if time.monotonic() >= gives_up_at:
            raise BackendError(
                f"Everything is deployed, but the bot at {url} {why or 'is still the old one'}.",
                f"Look at the log: {log_command(deployment)}; then {deploy_command(deployment)}.",
            )
        time.sleep(_LOOK_SECONDS)


def _cannot_start(word: StartWord, deployment: Deployment) -> BackendError:
    steps = [word.fix] if word.fix else []
    if DISCORD_KEYS[0] in word.cause:
        secret = secret_command(deployment.discord_secret, DISCORD_KEYS, is_there=True)
        steps.append(f"Set the token: {secret}")
    steps.append(f"See the log: {log_command(deployment)}; then {deploy_command(deployment)}.")
    return BackendError(
        f"Everything is deployed, but the bot cannot start: {word.cause}", "\n  ".join(steps)
    )
