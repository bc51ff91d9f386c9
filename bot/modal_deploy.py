"""Brings a deployment to Modal: what must be there is looked at first, then its two apps go."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bot.modal_account import rates, server_url, workspace
from bot.modal_checks import secret_finding
from bot.web.health import why_unwell
from training.deployment import Deployment
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


def deploy(deployment: Deployment, tell: Callable[[str], None]) -> Deployed:
    """Deploy the stages, then the bot, and wait until it serves; tell what Modal prints.

    Raises:
        RequestError: Something that must be there is not.
        BackendError: Modal refuses, or the bot does not come up.
    """
    where = require_ready(deployment)
    for module in MODULES:
        _deploy_app(module, deployment, tell)
    url = server_url(deployment.bot_app, "Bot")
    if url is None:
        raise BackendError("Modal has no address for the bot.", "See lorabot doctor.")
    tell(f"Waiting for the bot to answer at {url}")
    _wait_for(url, deployment)
    return Deployed(deployment, where, url)


def current_prices() -> MachinePrices:
    """Return what this workspace pays now, or the dated list where Modal does not tell."""
    try:
        return live_machine_prices(rates(), now().date()) or LISTED
    except TrainingError:
        return LISTED


def _deploy_app(module: str, deployment: Deployment, tell: Callable[[str], None]) -> None:
    """Run `modal deploy` on a module, as a person would."""
    command = (sys.executable, "-m", "modal", "deploy", "-m", module)
    with subprocess.Popen(
        command,
        env=_environment(deployment),
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


def _environment(deployment: Deployment) -> dict[str, str]:
    """Return the environment of `modal deploy`: this one's, with the names and this code."""
    root = str(Path(__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH")
    named = {name: value for name, value in deployment.variables().items() if value is not None}
    environment = {
        **os.environ,
        **named,
        "PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root,
    }
    # Containers have the token from a secret; what deploys has no use for it.
    environment.pop("LORABOT_DISCORD_TOKEN", None)
    return environment


def _wait_for(url: str, deployment: Deployment) -> None:
    gives_up_at = time.monotonic() + BOT.startup_seconds
    while why := why_unwell(url):
        if time.monotonic() >= gives_up_at:
            raise BackendError(
                f"All is deployed, but the bot at {url} {why}.",
                f"See why: modal app logs {deployment.bot_app}; then lorabot doctor.",
            )
        time.sleep(_LOOK_SECONDS)
