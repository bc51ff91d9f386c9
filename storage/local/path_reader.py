"""Reads parts of a file on a local disk. A reader may keep the file open."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from training.ports import FileChangedError


@dataclass(frozen=True, slots=True)
class PathReader:
    """A `FileReader` of a file on a local disk."""

    path: Path
    size_bytes: int
    state: str

    @classmethod
    def of(cls, path: Path) -> Self:
        facts = path.stat()
        return cls(path, facts.st_size, _state(path, facts))

    def read(self, start: int, size_bytes: int) -> bytes:
        with self.open() as file:
            file.seek(start)
            return file.read(size_bytes)

    def open(self) -> BinaryIO:
        try:
            file = self.path.open("rb")
        except FileNotFoundError as error:
            raise FileChangedError(f"{self.path.name} was removed while being read") from error
        if _state(self.path, os.fstat(file.fileno())) != self.state:
            file.close()
            raise FileChangedError(f"{self.path.name} was replaced while being read")
        return file


def _state(path: Path, facts: os.stat_result) -> str:
    return f"{path} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"
