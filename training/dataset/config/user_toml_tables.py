"""Reading a user's own dataset TOML: what the trainer would accept, table by table."""

import tomllib
from collections.abc import Mapping
from typing import Any, cast

from training.dataset.config.user_toml_findings import Remarks
from training.dataset.config.user_toml_schema import GENERAL, KEYS, REFUSED, WITHOUT_EFFECT, Section

LARGEST_BYTES = 64 * 1024
_MANY_DATASETS = 32
Table = Mapping[str, Any]


def looks_like_config(text: str) -> bool:
    """Return whether a file is a dataset TOML, good or bad, and not some other program's."""
    try:
        return isinstance(tomllib.loads(text).get("datasets"), list)
    except (tomllib.TOMLDecodeError, RecursionError):
        return "[[datasets]]" in text


def read_tables(text: str, remarks: Remarks) -> list[Table]:
    """Return each dataset's keys over those of `[general]`."""
    try:
        whole = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fix = "Correct that line; in paths use / or 'single quotes'."
        remarks.error("toml-syntax", f"It is not valid TOML: {error}.", fix)
        return []
    except RecursionError:  # the parser calls itself for each bracket
        remarks.error(
            "toml-syntax", "It is not valid TOML: nested too deeply.", "Write it without."
        )
        return []
    for key in whole.keys() - {"general", "datasets"}:
        remarks.unknown_key("The file", key, ["general", "datasets"])
    general, datasets = whole.get("general", {}), whole.get("datasets", [])
    if not isinstance(general, dict) or not _is_list_of_tables(datasets):
        remarks.error(
            "toml-no-datasets",
            "It holds no datasets that the trainer could read.",
            "Begin each dataset with a line [[datasets]], and the defaults with [general].",
        )
        return []
    shared, tables = cast(Table, general), cast(list[Table], datasets)
    _check("[general]", "general", shared, remarks)
    found: list[Table] = []
    for number, table in enumerate(tables, start=1):
        _check(where(number), section_of(table), table, remarks)
        found.append({**{k: v for k, v in shared.items() if k in GENERAL}, **table})
    if not remarks.has_errors:
        _one_folder_each(found, remarks)
    return found


def _is_list_of_tables(value: object) -> bool:
    if not isinstance(value, list):
        return False
    tables = cast(list[object], value)
    return 0 < len(tables) <= _MANY_DATASETS and all(isinstance(table, dict) for table in tables)


def where(number: int) -> str:
    """Return how findings name the dataset with that number."""
    return f"Dataset {number}"


def section_of(table: Table) -> Section:
    """Return which keys a dataset may have."""
    # As the trainer decides it: what is no video dataset is one of images.
    return "video" if table.keys() & {"video_directory", "video_jsonl_file"} else "image"


def _check(where: str, section: Section, table: Table, remarks: Remarks) -> None:
    known = KEYS[section]
    for key, value in table.items():
        if key not in known:
            remarks.unknown_key(where, key, sorted(known))
        elif not known[key].has_type(value) or not known[key].is_sane(value):
            remarks.wrong_value(where, key, value, known[key])
        elif key in REFUSED and value is not False:
            remarks.refused_key(where, key)
        elif key in WITHOUT_EFFECT:
            remarks.changed("toml-no-effect", f"{where}: {key} has no effect here.", "Left out.")
    if section != "general" and not table.keys() & {*REFUSED, f"{section}_directory"}:
        remarks.error(
            "toml-no-directory",
            f"{where} names no folder.",
            "Add image_directory or video_directory; any path stands for the set's own folder.",
        )


def _one_folder_each(tables: list[Table], remarks: Remarks) -> None:
    for key, what in (("image_directory", "images"), ("video_directory", "clips")):
        named = sorted({table[key].rstrip("/\\") for table in tables if key in table})
        if len(named) > 1:
            remarks.error(
                "toml-two-folders",
                f"It names {len(named)} folders of {what} ({', '.join(named)}), and a dataset "
                "here has one.",
                f"Name the same {key} in all, or train on datasets of their own.",
            )
