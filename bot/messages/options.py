"""How an option of a run is typed, in chat and in a terminal."""

from typing import Protocol

from training.runs.hyperparameters import CONFIG_TEXTS, option
from training.vocabulary import ExpertName

# Settings with their own option in /train; all others are typed into the option `settings`.
TRAIN_OPTIONS = ("epochs", "save_every", "learning_rate", "rank", "seed")
_OWN = (*TRAIN_OPTIONS, *CONFIG_TEXTS, "gpu", "expert", "resume_from")


class Spell(Protocol):
    """Writes an option and its value as users type them; `expert` limits it to one expert."""

    def __call__(self, name: str, value: object, expert: ExpertName | None = None) -> str: ...


def in_chat(name: str, value: object, expert: ExpertName | None = None) -> str:
    """Return an option of `/train`: `gpu:H100`, `settings:items=clips`, `settings:high.rank=32`."""
    if name in _OWN:
        return f"{option(name)}:{_of(expert)}{value}"
    whose = f"{expert}." if expert is not None else ""
    return f"settings:{whose}{option(name)}={value}"


def on_terminal(name: str, value: object, expert: ExpertName | None = None) -> str:
    """Return an option of `lorabot train`: `--gpu H100`, `--items clips`, `--rank high=32`."""
    return f"--{option(name)} {_of(expert)}{value}"


def _of(expert: ExpertName | None) -> str:
    return f"{expert}=" if expert is not None else ""
