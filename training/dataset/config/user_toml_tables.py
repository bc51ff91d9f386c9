"""Checks a user's dataset TOML table by table and collects the findings."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, cast

from training.dataset.config.toml_schema import (
    KEYS,
    WITHOUT_EFFECT,
    DatasetKeys,
    Section,
    Takes,
    invalid_keys,
    merged,
    section_of,
)
from training.dataset.config.untrusted_toml import TomlError, parse_toml
from training.dataset.report import Finding, Severity

LARGEST_BYTES = 64 * 1024
_MOST_DATASETS = 32
_SHOWN_CHARACTERS = 40
_Table = Mapping[str, Any]
# Keys that musubi-tuner accepts but this project refuses, with the reasons.
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "image_jsonl_file": "it lists files by paths on your own machine",
        "video_jsonl_file": "it lists files by paths on your own machine",
        "control_directory": "it trains on pairs of pictures, which these models do not take",
        "multiple_target": "it trains on sets of pictures, which these models do not take",
    }
)


class Remarks:
    """Collects the findings about one TOML."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}

    @property
    def found(self) -> tuple[Finding, ...]:
        """All findings without duplicates: errors first, then warnings, then infos."""
        order: tuple[Severity, ...] = ("error", "warning", "info")
        return tuple(sorted(self._found.values(), key=lambda f: order.index(f.severity)))

    @property
    def has_errors(self) -> bool:
        return any(finding.severity == "error" for finding in self._found.values())

    def error(self, code: str, cause: str, fix: str) -> None:
        self._add("error", code, cause, fix)

    def warning(self, code: str, cause: str, fix: str) -> None:
        self._add("warning", code, cause, fix)

    def changed(self, code: str, cause: str, fix: str) -> None:
        """Report a mistake that is fixed automatically."""
        self._add("info", code, cause, fix, repaired=True)

    def unknown_key(self, where: str, key: str, known: Sequence[str]) -> None:
        """Report a key that musubi-tuner does not accept, and suggest a similar known key."""
        near = get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f"Did you mean {near[0]}?" if near else f"Valid keys: {', '.join(known)}."
        for kind in ("image", "video"):
            if key in KEYS[kind]:
                hint = f"It belongs to {kind} datasets."
                break
        self.error(
            "toml-unknown-key",
            f"{where} has the key {key!r}, which the trainer does not accept there. {hint}",
            "Correct or remove the key.",
        )

    def wrong_value(
        self, where: str, key: str, given: Any, takes: Takes, *, is_range: bool
    ) -> None:
        """Report that a value is out of range if `is_range`, else that it has the wrong type."""
        shown = repr(given)
        if len(shown) > _SHOWN_CHARACTERS:
            shown = f"{shown[:_SHOWN_CHARACTERS]}…"
        is_whole_rate = key == "source_fps" and isinstance(given, int)
        hint = f" Write {given}.0: the trainer refuses {given}." if is_whole_rate else ""
        self.error(
            "toml-out-of-range" if is_range else "toml-wrong-type",
            f"{where}: {key} cannot be {shown}.{hint}",
            f"Use {takes.words}.",
        )

    def _add(
        self, severity: Severity, code: str, cause: str, fix: str, *, repaired: bool = False
    ) -> None:
        self._found[code, cause] = Finding(
            code=code, severity=severity, file=None, cause=cause, fix=fix, repaired=repaired
        )


def looks_like_config(text: str) -> bool:
    """Return whether a text is meant to be a dataset TOML, even if it is invalid."""
    try:
        return isinstance(parse_toml(text).get("datasets"), list)
    except TomlError:
        return "[[datasets]]" in text


def read_tables(text: str, remarks: Remarks) -> list[DatasetKeys]:
    """Return the keys of each dataset, with the defaults of `[general]`; [] if there are errors."""
    try:
        content = parse_toml(text)
    except TomlError as error:
        remarks.error("toml-syntax", error.cause, error.fix)
        return []
    for key in content.keys() - {"general", "datasets"}:
        remarks.unknown_key("The file", key, ["general", "datasets"])
    general, datasets = content.get("general", {}), content.get("datasets", [])
    if not isinstance(general, dict) or not _is_list_of_tables(datasets):
        remarks.error(
            "toml-no-datasets",
            "The trainer finds no datasets in this TOML.",
            "Start each dataset with a line [[datasets]], and the defaults with [general].",
        )
        return []
    shared, tables = cast("_Table", general), cast("list[_Table]", datasets)
    _check("[general]", "general", shared, remarks)
    for number, table in enumerate(tables, start=1):
        _check(where(number), section_of(table), table, remarks)
    if not remarks.has_errors:
        _check_folders(tables, remarks)
    return [] if remarks.has_errors else [merged(shared, table) for table in tables]


def where(number: int) -> str:
    return f"Dataset {number}"


def _is_list_of_tables(value: object) -> bool:
    if not isinstance(value, list):
        return False
    tables = cast("list[object]", value)
    return 0 < len(tables) <= _MOST_DATASETS and all(isinstance(table, dict) for table in tables)


def _check(where: str, section: Section, table: _Table, remarks: Remarks) -> None:
    known, invalid = KEYS[section], invalid_keys(section, table)
    for key, value in table.items():
        if key not in known:
            remarks.unknown_key(where, key, sorted(known))
        elif key in invalid:
            remarks.wrong_value(where, key, value, known[key], is_range=invalid[key])
        elif key in _REFUSED and value is not False:
            remarks.error(
                "toml-refused-key",
                f"{where}: {key} cannot be used here, because {_REFUSED[key]}.",
                "Remove the key; images and clips come from the dataset's own folders.",
            )
        elif key in WITHOUT_EFFECT:
            remarks.changed("toml-no-effect", f"{where}: {key} has no effect here.", "Left out.")
    if section != "general" and not table.keys() & {*_REFUSED, f"{section}_directory"}:
        remarks.error(
            "toml-no-directory",
            f"{where} names no folder.",
            "Add image_directory or video_directory. Any path will do: it is replaced by the "
            "dataset's own folder.",
        )


def _check_folders(tables: Sequence[_Table], remarks: Remarks) -> None:
    for key, what in (("image_directory", "images"), ("video_directory", "clips")):
        named = sorted({table[key].rstrip("/\\") for table in tables if key in table})
        if len(named) > 1:
            remarks.error(
                "toml-two-folders",
                f"The TOML names {len(named)} folders of {what} ({', '.join(named)}), but a "
                "dataset here has only one.",
                f"Use the same {key} throughout, or upload separate datasets.",
            )
