"""What a deployment was told besides its name: kept from one deployment of it to the next.

Modal's own records do not give back what containers are told, so it is stored beside the runs.
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
    """The variables that a deployment is told.

    Attributes:
        variables: All of them, by name.
        before: Those that were told the last time.
        kept: Of them those that are not named now.
    """

    variables: Mapping[str, str]
    before: Mapping[str, str]
    kept: Mapping[str, str]

    @classmethod
    def merge(cls, environment: Mapping[str, str], before: Mapping[str, str]) -> Self:
        """Return what is set now, and of what was told before all that is not set now.

        One that is set to nothing is back at its default.
        """
        named = {name: environment[name] for name in VARIABLES if name in environment}
        kept = {name: before[name] for name in VARIABLES if name in before and name not in named}
        given = {name: value for name, value in named.items() if value}
        return cls({**kept, **given}, before, kept)

    def lines(self) -> list[str]:
        """Return what a person is told of it: what is kept, and what is changed."""
        lines = [
            f"{name} was {self.before[name]}, and is {self.variables.get(name, 'not set')} now."
            for name in VARIABLES
            if name in self.before and self.before[name] != self.variables.get(name)
        ]
        if self.kept:
            texts = ", ".join(f"{name}={value}" for name, value in self.kept.items())
            lines.append(
                f"As it was deployed before: {texts}. Set to nothing, one has its default."
            )
        return lines

    def deployment(self, name: str) -> Deployment:
        """Return the deployment of that name that is told this."""
        return Deployment.from_env({**self.variables, APP_VARIABLE: name})


def read_told(store: Store) -> Mapping[str, str]:
    """Return what the deployment was told last, nothing before the first time.

    Raises:
        RequestError: It is damaged.
    """
    try:
        return _STORED.validate_json(store.read(store_keys.DEPLOYMENT))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise RequestError(
            f"{store_keys.DEPLOYMENT}, where the settings of the deployment are kept, is damaged.",
            "Remove it from the Volume of the runs with `modal volume rm`, name the settings and "
            "deploy again.",
        ) from error


def keep_told(store: Store, told: RememberedSettings) -> None:
    """Store what a deployment was told, for the next one."""
    store.write(store_keys.DEPLOYMENT, json.dumps(dict(told.variables), indent=2).encode())
