"""Options shared by several commands: their descriptions and choices."""

from collections.abc import Callable
from typing import Any, TypeVar

from discord import app_commands

from training.catalogue.models import MODELS
from training.registry.loras import expert_named
from training.registry.uploads.session import LoraTarget

Command = TypeVar("Command", bound=Callable[..., Any])
DATASET = "Name of the dataset, or name@version"
TRIGGER = "Trigger word that every caption should contain, such as ann1ka"
ZIP = "Zip with the files; /dataset upload takes larger ones"
# The options of commands that store files as a dataset.
NEW_DATASET = {
    "name": "Name of the dataset, such as annika",
    "trigger": TRIGGER,
    "prefix": "Prefix the trigger word to captions that lack it",
    "mode": "new: only these files; add: keep the existing files too; "
    "replace: add, overwriting same-named files",
}
CHECK = "Only check the files; store nothing"


def lora_options(command: Command) -> Command:
    """Describe `model`, `expert` and `name` of a command that adds a LoRA file."""
    describe = app_commands.describe(
        model="Model that the LoRA was trained for",
        expert="Wan 2.2: expert that the LoRA was trained for; if left out, read from the file",
        name="Name for the LoRA; if left out, the file's name",
    )
    choose = app_commands.choices(
        model=[app_commands.Choice(name=model.name, value=model.name) for model in MODELS],
        expert=[app_commands.Choice(name=name, value=name) for name in ("high", "low")],
    )
    return describe(choose(command))


def lora_target(model: str, expert: str, name: str) -> LoraTarget:
    """Return the target for a LoRA file; `expert` and `name` are "" if they were left out."""
    trained = expert_named(expert) if expert else None
    return LoraTarget(model=model, expert=trained, name=name or None)
