"""Ways in which files get damaged, and the files of a home by kind."""

import json
import random
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

Damage = Callable[[Path, random.Random], None]
# What differs between files of one kind: whose they are, which model, ids, hashes, numbers.
_VARYING = (
    (r"^(guilds/)\d+", r"\1*"),
    (r"(?<=~)\w+|(?<=/datasets/)\w+|(?<=trash/).*", "*"),
    (r"(?<=/caches/)(latents|texts)/\w\w/", r"\1/"),
    (r"^models/.*?(\.receipt\.json)?$", r"models/*\1"),
    (r"^(merged|guilds/\*/prepared)/.*(?=\.)", r"\1/*"),
    (r"/runs/[^/]+/", "/runs/*/"),
    (r"/inputs/caches/.*?(_te)?\.", r"/inputs/caches/*\1."),
    (r"/inputs/(high|main)/[a-z]+.*", "/inputs/*.safetensors"),
    (r"/checkpoints/(high|main)/[^/]*(-state/|\.)", r"/checkpoints/*\2"),
    (r"(/progress/|receipts/).*(?=\.)", r"\1*"),
    (r"-(high|main)\b", ""),
    (r"[0-9a-f]{12,}(-[0-9a-f]{8})?|\d+", "#"),
)
_TEXT = (".json", ".jsonl", ".toml", ".txt", ".log")


def cut_off(path: Path, choose: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: choose.randrange(1, max(2, len(data)))])


def zeroed(path: Path, choose: random.Random) -> None:
    """Fill the last part with zeros, as a file system does after a power cut."""
    data = path.read_bytes()
    start = choose.randrange(max(1, len(data) // 2))
    path.write_bytes(data[:start] + bytes(len(data) - start))


def bit_flipped(path: Path, choose: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    path.write_bytes(data)


def emptied(path: Path, _choose: random.Random) -> None:
    path.write_bytes(b"")


def missing(path: Path, _choose: random.Random) -> None:
    path.unlink()


def a_folder(path: Path, _choose: random.Random) -> None:
    """Put a folder in the place of the file."""
    path.unlink()
    path.mkdir()


def garbage(path: Path, choose: random.Random) -> None:
    path.write_bytes(choose.randbytes(path.stat().st_size or 64))


def other_json(path: Path, choose: random.Random) -> None:
    """Put valid JSON of another shape in the place of the file."""
    path.write_text(choose.choice(["[]", "null", '{"a": 1}', '"text"', "0"]) + "\n", "utf-8")


def foreign_version(path: Path, _choose: random.Random) -> None:
    """Rename a field and add one, as a later version of the format may."""
    lines = path.read_text("utf-8").splitlines() if path.suffix == ".jsonl" else None
    if lines is None:
        path.write_text(_foreign(path.read_text("utf-8")), "utf-8")
    else:
        path.write_text("".join(f"{_foreign(line)}\n" for line in lines), "utf-8")


def other_encoding(path: Path, _choose: random.Random) -> None:
    path.write_bytes(path.read_text("utf-8").encode("utf-16"))


def other_schema(path: Path, _choose: random.Random) -> None:
    """Put a database of another program in the place of the file."""
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("create table calls (a text)")
        database.execute("create table ended_runs (a text)")
    database.close()


def _foreign(text: str) -> str:
    found = json.loads(text)
    if not isinstance(found, dict):
        return json.dumps({"format_version": 99, "value": found})
    fields = cast("dict[str, object]", found)
    *_, last = fields
    fields[f"{last}_v2"] = fields.pop(last)
    return json.dumps({**fields, "format_version": 99})


ANY: Mapping[str, Damage] = {
    "cut off": cut_off,
    "zeroed": zeroed,
    "bit flipped": bit_flipped,
    "emptied": emptied,
    "missing": missing,
    "a folder": a_folder,
    "garbage": garbage,
}
JSON: Mapping[str, Damage] = {
    **ANY,
    "other JSON": other_json,
    "foreign version": foreign_version,
    "other encoding": other_encoding,
}
DATABASE: Mapping[str, Damage] = {**ANY, "other schema": other_schema}


def damages_of(path: Path) -> Mapping[str, Damage]:
    """Return the ways in which a file can be damaged."""
    if path.is_symlink():
        return {name: ANY[name] for name in ("missing", "a folder")}
    if path.stat().st_size == 0:  # a marker
        return {name: ANY[name] for name in ("missing", "a folder", "garbage")}
    if path.suffix == ".sqlite":
        return DATABASE
    if path.suffix in (".json", ".jsonl") or path.name == "ended":
        return JSON
    return {**ANY, "other encoding": other_encoding} if path.suffix in _TEXT else ANY


@dataclass(frozen=True)
class Hit:
    """A file and what happens to it.

    Attributes:
        kind: The file's path without what differs between files of its kind.
        file: Its path below the home.
    """

    kind: str
    file: str
    damage: str

    def strike(self, home: Path, seed: int) -> None:
        path = home / self.file
        random_numbers = random.Random(f"{seed} {self.kind} {self.damage}")
        damages_of(path)[self.damage](path, random_numbers)


def hits(home: Path, count: int, seed: int, *, spared: tuple[str, ...] = ()) -> list[Hit]:
    """Choose files and damages: each kind of file once before any is chosen twice.

    Args:
        home: The home whose files are chosen.
        count: How many.
        seed: Decides the choice.
        spared: Parts of paths that are not chosen.
    """
    choose = random.Random(seed)
    kinds = dict[str, list[str]]()
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        is_file = path.is_symlink() or path.is_file()
        if is_file and not any(part in f"/{name}" for part in spared):
            kinds.setdefault(kind_of(name), []).append(name)
    found = list[Hit]()
    while len(found) < count:
        for kind in choose.sample(sorted(kinds), len(kinds)):
            file = choose.choice(kinds[kind])
            damage = choose.choice(sorted(damages_of(home / file)))
            found.append(Hit(kind, file, damage))
    return found[:count]


def kind_of(name: str) -> str:
    """Return the path of a file without what differs between files of its kind."""
    for pattern, replacement in _VARYING:
        name = re.sub(pattern, replacement, name)
    return name
