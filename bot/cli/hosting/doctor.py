"""`lorabot doctor`: check every requirement and show how to fix what fails."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from bot.cli.home import Home
from bot.cli.output import console, errors, plain, print_json
from bot.cli.parameters import Json
from bot.deploy.account import ModalAccount
from bot.deploy.checks import modal_findings
from bot.doctor.chat import chat_findings
from bot.doctor.finding import CheckResult, Status, unchecked
from bot.doctor.machine import machine_findings
from training.errors import RequestError

_STYLES: dict[Status, str] = {"fine": "green", "failed": "bold red", "not checked": "yellow"}
_WIDTH = max(map(len, _STYLES))


Probe = Annotated[
    bool,
    Parameter(
        help="Also start a few short CPU containers on Modal, for a few cents, and show how "
        "Volumes, Dicts and the images behave there. Do this before the first run.",
        negative=(),
    ),
]


def doctor(*, probe: Probe = False, json: Json = False, home: Home | None = None) -> None:
    place = home or Home()
    if probe and place.backend == "local":
        raise RequestError("--probe tests Modal.", "Leave out --backend local.")
    found: list[CheckResult] = []
    for finding in _findings(place, is_probed=probe):
        found.append(finding)
        if not json:
            _print(finding)
    if json:
        print_json([asdict(finding) for finding in found])
    failures = sum(finding.status == "failed" for finding in found)
    if failures:
        errors.print(f"{failures} of {len(found)} checks failed.")
        sys.exit(1)


def _findings(home: Home, *, is_probed: bool) -> Iterator[CheckResult]:
    settings = home.settings()
    yield from machine_findings(settings)
    if home.backend == "local":
        yield unchecked("Modal", "skipped with --backend local")
    else:
        yield from modal_findings(
            settings.deployment,
            ModalAccount(),
            is_wanted=is_probed or settings.backend == "modal",
            is_probed=is_probed,
        )
    yield from chat_findings(settings)


def _print(finding: CheckResult) -> None:
    mark = f"[{_STYLES[finding.status]}]{finding.status:<{_WIDTH}}[/]"
    console.print(f"{mark}  {plain(finding.check)}: {plain(finding.text)}")
    if finding.fix:
        console.print(f"{'':<{_WIDTH}}  -> {plain(finding.fix)}")
