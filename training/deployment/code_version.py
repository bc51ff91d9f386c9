"""The version of the deployed code: a hash of the source files that are sent to containers."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import get_args

from training.deployment.names import Deployment
from training.files.code_path import CODE_ROOT
from training.vocabulary import EngineName

CODE_LABEL, ENGINE_LABEL, DEPLOY_LABEL = "lorabot-code", "lorabot-engine", "lorabot-deploy"
COMPILED = "__pycache__"  # not sent
STAGES_CODE = ("training", "storage")
BOT_CODE = ("bot", *STAGES_CODE)


@cache
def code_version(*packages: str) -> str:
    """Return a hash of the content of these packages."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((CODE_ROOT / package).rglob("*")):
            inside = path.relative_to(CODE_ROOT)
            if path.is_file() and COMPILED not in inside.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{inside.as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def labels(deployment: Deployment, *packages: str) -> dict[str, str]:
    of_this = {DEPLOY_LABEL: deployment.deploy} if deployment.deploy else {}
    return {CODE_LABEL: code_version(*packages), ENGINE_LABEL: deployment.engine, **of_this}


def engine_of(labels: Mapping[str, str] | None) -> EngineName | None:
    """Return the engine named by a deployed app's tags; None if it is missing or unknown."""
    label = (labels or {}).get(ENGINE_LABEL)
    return next((name for name in get_args(EngineName) if name == label), None)
