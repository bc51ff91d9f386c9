"""Remembers the settings of a deployment between deploys.

Modal does not return a container's environment, so the settings are stored beside the runs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import TypeAdapter, ValidationError

from bot.settings import HOSTED_VARIABLES
from training import store_keys
from training.deployment.names import APP_VARIABLE, ENGINE_VARIABLE, GPU_STAGES_VARIABLE, Deployment
from training.errors import RequestError
from training.pipeline.settings import STAGE_VARIABLES
from training.ports import Store

VARIABLES = (ENGINE_VARIABLE, GPU_STAGES_VARIABLE, *HOSTED_VARIABLES, *STAGE_VARIABLES)
_STORED: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


@dataclass(frozen=True, slots=True)
class RememberedSettings:
    """The environment variables of a deployment, now and at its last deploy.

    Attributes:
        variables: The values to deploy with.
        before: All values of the last deploy.
        kept: Values reused from the last deploy, because they are not set now.
    """

    variables: Mapping[str, str]
    before: Mapping[str, str]
    kept: Mapping[str, str]

    @classmethod
    def merge(cls, environment: Mapping[str, str], before: Mapping[str, str]) -> Self:
        """Add the last deploy's values for variables that the environment does not set.

        An empty value resets a variable to its default.
        """
        named = {name: environment[name] for name in VARIABLES if name in environment}
        kept = {name: before[name] for name in VARIABLES if name in before and name not in named}
        given = {name: value for name, value in named.items() if value}
        return cls({**kept, **given}, before, kept)

    def lines(self) -> list[str]:
        """Describe to the operator what changed and what was kept."""
        lines = [
            f"{name} changes from {self.before[name]} to {self.variables.get(name, 'its default')}."
            for name in VARIABLES
            if name in self.before and self.before[name] != self.variables.get(name)
        ]
        if self.kept:
            texts = ", ".join(f"{name}={value}" for name, value in self.kept.items())
            lines.append(f"Kept from the last deploy: {texts}. An empty value resets a variable.")
        return lines

    def deployment(self, name: str) -> Deployment:
        return Deployment.from_env({**self.variables, APP_VARIABLE: name})

    def save(self, store: Store) -> None:
        """Remember the values for the next deploy."""
        store.write(store_keys.DEPLOYMENT, json.dumps(dict(self.variables), indent=2).encode())


def last_deploy(store: Store) -> Mapping[str, str]:
    """Return the variables of the last deploy; empty before the first.

    Raises:
        RequestError: The stored file is damaged.
    """
    try:
        return _STORED.validate_json(store.read(store_keys.DEPLOYMENT))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise RequestError(
            f"{store_keys.DEPLOYMENT}, which stores the deployment's settings, is damaged.",
            "Delete it from the runs' Volume with `modal volume rm`, set the variables again and "
            "deploy.",
        ) from error
