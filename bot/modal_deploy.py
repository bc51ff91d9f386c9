"""Brings a deployment to Modal: what must be there is looked at first, then its two apps go."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.kept_settings import VARIABLES, Told, keep_told, read_told
from bot.modal_account import rates, server_url, workspace
from bot.modal_checks import last_start, log_command, secret_command, secret_finding
from bot.modal_operator import open_store
from bot.start_word import StartWord
from bot.web.health import why_unwell
from training.deployment import DISCORD_KEYS, Deployment
from training.errors import BackendError, RequestError, TrainingError
from training.house import now
from training.machine_prices import LISTED, MachinePrices, live_machine_prices
from training.resources import BOT

# The stages first: a bot that starts finds what it hands runs to.
MODULES = ("training.modal_app", "bot.modal_app")
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """What was deployed where, and the address that the bot has there."""

    deployment: Deployment
    workspace: str
    url: str


def require_ready(deployment: Deployment) -> str:
    """Return the workspace that is deployed to, if all is there that Modal cannot make itself.

    Raises:
        RequestError: This machine has no token, or a secret is missing or lacks a key.
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
    return name


def deploy(name: str, environment: Mapping[str, str], tell: Callable[[str], None]) -> Deployed:
    """Deploy the stages, then the bot, and wait until it serves; tell what Modal prints.

    Args:
        name: Of the deployment.
        environment: What is set here; what is not is as it was deployed before.
        tell: Called with each line for a person.

    Raises:
        RequestError: Something that must be there is not.
        BackendError: Modal refuses, or the bot does not come up.
    """
    where = require_ready(Deployment(name=name))
    store = open_store(name)
    told = Told.merge(environment, read_told(store))
    deployment = told.deployment(name)
    for line in told.lines():
        tell(line)
    before = last_start(deployment)
    for module in MODULES:
        _deploy_app(module, _environment(deployment, told), tell)
        keep_told(store, told)
    url = server_url(deployment.bot_app, "Bot")
    if url is None:
        raise BackendError("Modal has no address for the bot.", "See lorabot doctor.")
    tell(f"Waiting for the bot to answer at {url}")
    _wait_for(url, deployment, before)
    return Deployed(deployment, where, url)


def current_prices() -> MachinePrices:
    """Return what this workspace pays now, or the dated list where Modal does not tell."""
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
            f"Modal did not deploy {module}; it ended with {running.returncode}.",
            "Read what it printed above, repair that, and run lorabot deploy again.",
        )


def _environment(deployment: Deployment, told: Told) -> dict[str, str]:
    """Return the environment of `modal deploy`: this one's, with what is told and this code."""
    root = str(Path(__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH")
    named = {name: value for name, value in deployment.variables().items() if value is not None}
    # Containers have the token from a secret; what deploys has no use for it.
    others = {*VARIABLES, "LORABOT_DISCORD_TOKEN"}
    return {
        **{name: value for name, value in os.environ.items() if name not in others},
        **told.variables,
        **named,
        "PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root,
    }


def _wait_for(url: str, deployment: Deployment, before: StartWord | None) -> None:
    """Wait until the copy that was deployed has said that it started, and the bot answers.

    Raises:
        BackendError: It cannot start, or does not answer in time.
    """
    gives_up_at = time.monotonic() + BOT.startup_seconds
    while True:
        word = last_start(deployment)
        is_new = word is not None and word != before
        if word is not None and is_new and word.cause:
            raise _cannot_start(word, deployment)
        why = why_unwell(url)
        if why is None and is_new:
            return
        if time.monotonic() >= gives_up_at:
            raise BackendError(
                f"All is deployed, but the bot at {url} {why or 'is still the one before'}.",
                f"See why: {log_command(deployment)}; then lorabot doctor.",
            )
        time.sleep(_LOOK_SECONDS)


def _cannot_start(word: StartWord, deployment: Deployment) -> BackendError:
    secret = secret_command(deployment.discord_secret, DISCORD_KEYS, is_there=True)
    return BackendError(
        f"All is deployed, but the bot cannot start: {word.cause}",
        f"{word.fix}\n  The token is set with: {secret}\n"
        f"  More of it: {log_command(deployment)}; then run lorabot deploy again.",
    )
