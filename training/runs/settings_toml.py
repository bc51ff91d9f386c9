"""Writes the settings of a request as TOML for a dialog, and reads back the edited text."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from training.dataset.config.untrusted_toml import TomlError, parse_toml
from training.errors import RequestError
from training.runs.hyperparameters import (
    ITEM_NAMES,
    LIGHTNING_NAMES,
    PRESET_NAME,
    SETTING_NAMES,
    option,
    split_value,
)
from training.runs.setting_names import KEYS, for_experts, setting_of, value_text
from training.runs.spec import ExpertSpec, RunSpec, TrainRequest
from training.vocabulary import ExpertName
from training.wording import did_you_mean

# Shown even if the user did not set them. Other unset settings are only named in a comment.
_OFTEN_CHANGED = ("learning_rate", "rank", "epochs", "save_every", "seed")
_OF_RUN = ("name", "gpu")  # keys that are not settings
_FOR_ALL = (PRESET_NAME, *ITEM_NAMES, *_OF_RUN)
_TABLES: tuple[ExpertName, ...] = ("main", "high", "low")
_SPLITS = frozenset(" \t\n,;")  # characters that separate the values of experts
_FIX = 'Write one key = value per line, put words in "quotes", and use true or false for yes or no.'
_LINE = 60  # the most characters in a line of the comment, because dialogs are narrow


def write_settings(request: TrainRequest, spec: RunSpec) -> str:
    """Return a drafted run's settings as TOML: those the user set, and those often changed.

    Settings that all experts share come first, then a table for each expert.
    """
    values = {expert.name: _values(request, expert) for expert in spec.experts}
    names = [name for name in KEYS.values() if any(name in its for its in values.values())]
    shared = {
        name: next(iter(values.values()))[name]
        for name in names
        if len({its.get(name) for its in values.values()}) == 1
    }
    of_run = {name: its for name in _OF_RUN if (its := getattr(request, name)) is not None}
    first = {**of_run, **{n: request.settings[n] for n in _FOR_ALL if n in request.settings}}
    lines = [*_lines({**first, **shared}), *_others({*first, *names})]
    for expert, its in values.items():
        own = {name: value for name, value in its.items() if name not in shared}
        if own:
            lines += ["", f"[{expert}]", *_lines(own)]
    return "\n".join(lines) + "\n"


def read_settings(text: str, request: TrainRequest, spec: RunSpec) -> TrainRequest:
    """Return the request with the settings in `text`; settings not in the text are unset.

    `write_settings` also shows some defaults. A default that the user left unchanged does not count
    as set, so a preset in the text can replace it.

    Raises:
        RequestError: The text is not TOML, or has an unknown key or a value of the wrong kind.
    """
    try:
        found = parse_toml(text)
    except TomlError as error:
        raise RequestError(error.cause, _FIX) from error
    given: dict[str, dict[str, str]] = {}
    of_run: dict[str, str] = {}
    for key, value in found.items():
        if key in _TABLES and isinstance(value, dict):
            for inner, its in cast("dict[str, Any]", value).items():
                _add(given, setting_of(inner), _text(inner, its), expert=key)
        elif isinstance(value, dict):
            names = [expert.name for expert in spec.experts]
            fix = did_you_mean(key, names) or f"Experts of this run: {', '.join(names)}."
            raise RequestError(f"There is no expert called {key[:60]!r}.", fix)
        elif key.strip().lower() in _OF_RUN:
            of_run[key.strip().lower()] = _text(key, value)
        else:
            _add(given, setting_of(key), _text(key, value))
    experts: list[ExpertName] = [expert.name for expert in spec.experts]
    settings = {name: for_experts(values, experts) for name, values in given.items()}
    changed = {n: v for n, v in settings.items() if not _is_untouched(n, v, request, spec)}
    return request.model_copy(
        update={"settings": changed, **{name: of_run.get(name) for name in _OF_RUN}}
    )


def _add(
    given: dict[str, dict[str, str]], name: str, value: str, expert: ExpertName | None = None
) -> None:
    if expert is not None and name in _FOR_ALL:
        raise RequestError(
            f"{option(name)} applies to all experts, but is under [{expert}].",
            "Write the setting above the tables.",
        )
    if expert is not None and _SPLITS & set(value):
        raise RequestError(f"{option(name)} cannot be {value[:60]!r}.", "Leave out the spaces.")
    given.setdefault(name, {})[expert or ""] = value


def _text(key: str, value: object) -> str:
    """Return a TOML value as users type it in a command."""
    if isinstance(value, bool | int | float | str):
        return value_text(value)
    raise RequestError(f"{key[:60]} cannot be {str(value)[:60]}.", _FIX)


def _is_untouched(name: str, text: str, request: TrainRequest, spec: RunSpec) -> bool:
    if name not in SETTING_NAMES or name in request.settings:
        return False
    experts: tuple[ExpertName, ...] = tuple(expert.name for expert in spec.experts)
    shown = {expert.name: _text(name, getattr(expert.settings, name)) for expert in spec.experts}
    return split_value(name, text, experts) == shown


def _values(request: TrainRequest, expert: ExpertSpec) -> Mapping[str, object]:
    """Return the values of an expert's settings that the dialog shows, keyed by name."""
    names = [name for name in SETTING_NAMES if name in (*_OFTEN_CHANGED, *request.settings)]
    found: dict[str, object] = {name: getattr(expert.settings, name) for name in names}
    for name in LIGHTNING_NAMES:
        if name in request.settings:
            # The text holds the values of all experts, but only this expert's value is wanted.
            its = split_value(name, request.settings[name], _TABLES)
            found |= {name: its[expert.name]} if expert.name in its else {}
    return found


def _lines(values: Mapping[str, object]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{option(name)} = {_toml(value)}"


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return value_text(value)
        case _:
            escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'


def _others(shown: set[str]) -> Iterator[str]:
    """Yield the lines of a comment that names the keys that are not shown."""
    line = "# also:"
    for name in (*_OF_RUN, *KEYS.values()):
        if name in shown:
            continue
        if len(line) + len(name) > _LINE:
            yield line
            line = "#"
        line += f" {option(name)}"
    yield line
