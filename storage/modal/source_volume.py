"""Read-only access to a Modal Volume that this project does not own."""

from collections.abc import Callable
from typing import BinaryIO, cast

import modal

from storage.modal.volume_api import EntryType, Volume, counting
from training.backends.modal.errors import ask
from training.registry.guide_volumes import SourceFile


class SourceVolume:
    """An existing Volume, found by its name; this class never creates one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._volume = cast("Volume", modal.Volume.from_name(name))

    def files(self) -> list[SourceFile]:
        """Return all files; raise `FileNotFoundError` if there is no such Volume."""
        found = ask(self.name, lambda: self._volume.listdir("/", recursive=True))
        kept = (entry for entry in found if entry.type == EntryType.FILE)
        return [SourceFile(entry.path.strip("/"), entry.size) for entry in kept]

    def copy(self, path: str, target: BinaryIO, watch: Callable[[int], None]) -> None:
        """Write a file's content to `target`; report the bytes written so far to `watch`."""

        def copy() -> None:
            target.seek(0)
            target.truncate()
            self._volume.read_file_into_fileobj(path, target, counting(watch))

        ask(path, copy)
