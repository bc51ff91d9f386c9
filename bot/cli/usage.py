"""Explains wrong usage of the command line, and says what to type instead."""

from collections.abc import Sequence

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnusedCliTokensError,
)


def usage_text(error: CycloptsError) -> str:
    """Return what is wrong with a command line."""
    match error:
        case MissingArgumentError() if error.argument is not None:
            return _missing(error, error.argument.name, error.argument.parameter.help or "")
        case RepeatArgumentError():
            return f"{error.token.keyword} is given twice."
        case UnusedCliTokensError():
            return f"Too many words: {' '.join(error.unused_tokens or ())}."
        case CoercionError() if error.token is not None and error.token.keyword is not None:
            return _wrong_value(error, error.token.keyword, error.token.value)
        case _:
            return str(error)


def help_hint(command: Sequence[str]) -> str:
    """Return a hint to read the help of a command, such as ("dataset", "list")."""
    return f"See {' '.join(('lorabot', *command))} --help."


def _missing(error: MissingArgumentError, name: str, meaning: str) -> str:
    # cyclopts looks for a misspelled option among the words that it does not recognize.
    _, misspelled, guess = str(error).partition(" Did you mean ")
    if misspelled:
        return f"{name} is missing. Did you mean {guess}"
    problem = "needs a value" if name in (error.root_input_tokens or ()) else "is missing"
    return f"{name} {problem}. {meaning}".rstrip()


def _wrong_value(error: CoercionError, name: str, value: str) -> str:
    if error.target_type is bool:
        return f"{name} takes no value, but got {value!r}."
    if error.target_type is int:
        return f"{name} must be a whole number, not {value!r}."
    if error.target_type is float:
        return f"{name} must be a number, not {value!r}."
    return str(error)
