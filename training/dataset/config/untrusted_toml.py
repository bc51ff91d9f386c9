"""Parses TOML from users; refuses texts that would keep the parser busy for a long time."""

import tomllib
from typing import Any

# This is ample for a dataset TOML: it has a dozen keys for each of at most 32 datasets.
_MOST_KEYS = 1_000
# For a dotted key of n parts, the parser takes n * n steps. 64 KiB of "a.a.a" would take minutes.
_MOST_DOTS = 128
_PLAIN = "Write one short key = value per line, as in musubi-tuner's documentation."


class TomlError(Exception):
    """A text is not valid TOML, or has more or longer keys than any dataset needs."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause, fix)
        self.cause, self.fix = cause, fix


def parse_toml(text: str) -> dict[str, Any]:
    """Return the parsed content of a TOML text.

    Raises:
        TomlError: The text is invalid, or has more or longer keys than any dataset needs.
    """
    lines = text.split("\n")
    tables = sum(line.lstrip().startswith("[") for line in lines)
    if text.count("=") + tables > _MOST_KEYS:
        raise TomlError(f"This TOML has more than {_MOST_KEYS:,} keys.", _PLAIN)
    for number, line in enumerate(lines, start=1):
        if line.count(".") > _MOST_DOTS:  # a key cannot span lines
            raise TomlError(f"Line {number} of this TOML has more than {_MOST_DOTS} dots.", _PLAIN)
    try:
        return tomllib.loads(text)
    except RecursionError as error:  # the parser recurses at each nested bracket
        cause = "This is not valid TOML: it is nested too deeply."
        raise TomlError(cause, "Remove the nested brackets.") from error
    except tomllib.TOMLDecodeError as error:
        fix = "Fix that line. Write paths with / or in 'single quotes'."
        raise TomlError(f"This is not valid TOML: {error}.", fix) from error
    except ValueError as error:  # Python refuses numbers of more than 4,300 digits
        cause = "This TOML has a number that is too long."
        raise TomlError(cause, "Shorten the number.") from error
