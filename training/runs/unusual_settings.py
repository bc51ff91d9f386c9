"""Finds the settings of a run that differ from the defaults, and those that look like mistakes."""

from collections.abc import Iterator

from training.catalogue.models import Model
from training.runs.hyperparameters import SETTING_NAMES, ExpertSettings, resolve_expert
from training.runs.spec import RunSpec

RATE_FACTOR = 5.0
ALPHA_FACTOR = 2.0  # an alpha above this multiple of the rank is unusual
EPOCHS_FACTOR = 4


def usual_settings(given: ExpertSettings, model: Model) -> ExpertSettings:
    """Return the settings that an expert has if the user gives none."""
    return resolve_expert(model, model.expert(given.expert), {})


def differing(given: ExpertSettings, model: Model) -> frozenset[str]:
    """Return the names of the settings that differ from the usual ones.

    Alpha counts as different only if it does not equal the rank.
    """
    usual = usual_settings(given, model)
    names = {name for name in SETTING_NAMES if getattr(given, name) != getattr(usual, name)}
    return frozenset(names - {"alpha"} if given.alpha == given.rank else names | {"alpha"})


def doubts(spec: RunSpec, model: Model) -> tuple[str, ...]:
    """Return a sentence on each setting that is far from its usual value."""
    found = (
        reason
        for expert in spec.experts
        for reason in _unusual(expert.settings, usual_settings(expert.settings, model))
    )
    return tuple(dict.fromkeys(found))


def _times(factor: float) -> str:
    """Return `2.5 times` or `1,000 times`."""
    return f"{factor:,.0f} times" if factor >= 10 else f"{factor:.2g} times"


def _unusual(given: ExpertSettings, usual: ExpertSettings) -> Iterator[str]:
    expert = "" if given.expert == "main" else f" of the {given.expert} expert"
    factor = given.learning_rate / usual.learning_rate
    if factor > RATE_FACTOR:
        yield (
            f"The learning rate{expert} is {given.learning_rate:g}, {_times(factor)} the usual "
            f"{usual.learning_rate:g}: the loss will probably diverge."
        )
    if factor < 1 / RATE_FACTOR:
        yield (
            f"The learning rate{expert} is {given.learning_rate:g}, where {usual.learning_rate:g} "
            "is usual: the LoRA will hardly learn."
        )
    if given.alpha > ALPHA_FACTOR * given.rank:
        yield (
            f"Alpha{expert} is {given.alpha:g} at rank {given.rank}, which multiplies every change "
            f"by {given.alpha / given.rank:.3g}: the loss will probably diverge."
        )
    if given.epochs > EPOCHS_FACTOR * usual.epochs:
        yield (
            f"{given.epochs} epochs{expert} are {given.epochs / usual.epochs:.3g} times the usual "
            f"{usual.epochs}, and the cost of training rises by the same factor."
        )
