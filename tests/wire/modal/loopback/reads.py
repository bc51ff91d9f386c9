"""Files of volumes while a client reads them over HTTP."""

from collections import deque
from pathlib import Path

from tests.wire.modal.loopback import trees
from tests.wire.modal.loopback.names import new_id

MAX_READS = 1_000


class Reads:
    """Committed files as they were when a client began to read them.

    Committed files are replaced, never written in place: a hard link keeps the version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: deque[Path] = deque()
        trees.remove(folder)
        folder.mkdir()

    def keep(self, path: Path) -> str:
        """Keep a file readable under an id, as one of the last thousand."""
        read = new_id("rd")
        self.path(read).hardlink_to(path.resolve())
        self._kept.append(self.path(read))
        if len(self._kept) > MAX_READS:
            self._kept.popleft().unlink()
        return read

    def path(self, read: str) -> Path:
        """Return the file of an id."""
        return self._folder / Path(read).name
