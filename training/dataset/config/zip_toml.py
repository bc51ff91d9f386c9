"""Finds dataset TOMLs in a zip. The report keeps them; a run uses one only on request."""

from collections.abc import Iterable, Iterator, Sequence

from training.dataset.config.user_toml_tables import LARGEST_BYTES, looks_like_config
from training.dataset.report import FoundConfig, Note
from training.dataset.zip.archive import Archive, MemberDamagedError
from training.dataset.zip.members import Layout

_MOST = 8
Left = tuple[str, Note]


def find_configs(archive: Archive, layout: Layout) -> tuple[FoundConfig, ...]:
    """Return the dataset TOMLs among the first eight unused TOML files of the zip."""
    paths = [path for path, note in layout.left if note.code == "toml-unused"]
    return tuple(_read(archive, paths[:_MOST]))


def note_configs(left: Iterable[Left], configs: Sequence[FoundConfig]) -> Iterator[Left]:
    """Yield the unused files with their notes; the files of `configs` get the note "toml-found"."""
    found = {config.file for config in configs}
    for path, note in left:
        yield path, (Note(code="toml-found") if path in found else note)


def _read(archive: Archive, paths: Sequence[str]) -> Iterator[FoundConfig]:
    members = {member.path: member for member in archive.members}
    for path in paths:
        try:
            text = archive.read(members[path], LARGEST_BYTES + 1).decode("utf-8-sig")
        except (MemberDamagedError, UnicodeDecodeError):
            continue
        if len(text) <= LARGEST_BYTES and looks_like_config(text):
            yield FoundConfig(file=path, text=text)
