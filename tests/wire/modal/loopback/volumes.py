"""Volumes: the committed files, and what each container sees of them."""

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tests.wire.modal.loopback import trees
from tests.wire.modal.loopback.trees import Stamp


@dataclass(eq=False)
class Volume:
    """The committed state of a volume: what starts, reloads and the API see.

    Attributes:
        files: Its folder.
        limit_bytes: From which size on it is full, None: never.
        lock: Held by whoever changes the files.
        refused: How many writes it has refused.
        changes: How many writes it has taken.
        layer_limit: How many layers it may have; None: any number. Each commit, put and remove adds
            one. The first write beyond them is refused, and all others for `layer_seconds` from
            then on; after that, the layers have been merged.
    """

    id: str
    name: str
    files: Path
    limit_bytes: int | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    layer_limit: int | None = None
    layer_seconds: float = 60.0
    refused: int = 0
    changes: int = 0
    _layers: int = 0
    _full_since: float | None = None

    @property
    def staging(self) -> Path:
        """A folder beside the files: nobody sees what is half written."""
        return self.files.parent

    def path(self, inside: str) -> Path:
        """Return where a path of the volume lies.

        Raises:
            GRPCError: INVALID_ARGUMENT, it leaves the volume.
        """
        parts = [part for part in inside.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise GRPCError(Status.INVALID_ARGUMENT, f"Path {inside!r} leaves the volume")
        return self.files.joinpath(*parts)

    def existing(self, inside: str) -> Path:
        """Return where a path of the volume lies, if something is there.

        Raises:
            GRPCError: NOT_FOUND.
        """
        path = self.path(inside)
        if not path.exists() and not path.is_symlink():
            raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {inside}")
        return path

    def add_layer(self) -> None:
        """Count a write, or refuse it as the service does.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED.
        """
        self._merge_layers()
        if self.layer_limit is not None and self._layers >= self.layer_limit:
            self._full_since = self._full_since or time.monotonic()
            self.refused += 1
            text = "too many layers in volume. Please wait and retry."
            raise GRPCError(Status.RESOURCE_EXHAUSTED, text)
        self._layers += 1
        self.changes += 1

    def _merge_layers(self) -> None:
        since, now = self._full_since, time.monotonic()
        if self.layer_limit is None or (since is not None and now - since >= self.layer_seconds):
            self._layers, self._full_since = 0, None

    def check_room(self, added: dict[str, int]) -> None:
        """Refuse files, by path and size, that would not fit.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED.
        """
        if self.limit_bytes is None:
            return
        sizes = {path: max(0, stamp.size) for path, stamp in trees.scan(self.files).items()}
        total = sum({**sizes, **added}.values())
        if total > self.limit_bytes:
            full = f"Volume '{self.name}' is full: {total} B of {self.limit_bytes} B"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, full)


@dataclass(eq=False)
class View:
    """What one container sees of a volume: its state at the start, and the container's writes.

    Attributes:
        path: Where the container sees it.
        is_read_only: Whether writes of the container are refused.
        is_closed: Whether the container has ended.
        seen: Stamps of the container's files, and of the committed ones they were copied from.
    """

    volume: Volume
    path: Path
    sub_path: str = ""
    is_read_only: bool = False
    is_closed: bool = False
    seen: dict[str, tuple[Stamp, Stamp]] = field(default_factory=dict[str, tuple[Stamp, Stamp]])

    @property
    def _committed(self) -> Path:
        return self.volume.path(self.sub_path)

    def load(self) -> None:
        """Bring what is committed into view; deletions too."""
        self._committed.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)
        self._load_into(self.path)

    def reload(self) -> list[str]:
        """Bring what is committed into view; meanwhile the container sees an empty folder.

        Returns:
            What the container wrote into that folder: on Modal it would be lost.
        """
        hidden = self.path.with_name(f".{self.path.name}.reloading")
        self.path.rename(hidden)
        self.path.mkdir()
        self._load_into(hidden)
        lost = list(trees.scan(self.path))
        trees.remove(self.path)
        hidden.rename(self.path)
        return lost

    def _load_into(self, folder: Path) -> None:
        committed = trees.scan(self._committed)
        for path in [path for path in self.seen if path not in committed]:
            trees.remove(folder / path)
        for path, stamp in committed.items():
            if path not in self.seen or self.seen[path][1] != stamp:
                trees.copy(self._committed / path, folder / path)
        own = trees.scan(folder)
        self.seen = {path: (own[path], stamp) for path, stamp in committed.items() if path in own}

    def commit(self) -> None:
        """Make the container's writes and deletions what all others will see.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED, the volume is full; nothing was committed.
        """
        own = trees.scan(self.path)
        written = self._written(own)
        if self.is_changed():
            self.volume.add_layer()
        if written:
            prefix = self.sub_path.strip("/")
            sizes = {f"{prefix}/{path}".lstrip("/"): max(0, own[path].size) for path in written}
            self.volume.check_room(sizes)
        for path in reversed([path for path in self.seen if path not in own]):
            _delete(self._committed / path)
            del self.seen[path]
        for path in written:
            trees.copy(self.path / path, self._committed / path, self.volume.staging)
        committed = trees.scan(self._committed)
        for path in written:
            if path in committed:
                self.seen[path] = (own[path], committed[path])

    def is_changed(self) -> bool:
        """Return whether there is something to commit."""
        own = trees.scan(self.path)
        return bool(self._written(own)) or any(path not in own for path in self.seen)

    def _written(self, own: dict[str, Stamp]) -> list[str]:
        return [p for p, stamp in own.items() if p not in self.seen or self.seen[p][0] != stamp]

    def open_file(self, pids: list[int]) -> str | None:
        """Return what one of these processes has open in it: the reason against a reload."""
        inside = str(self.path.resolve())
        for pid in pids:
            for where in _open_paths(pid):
                if where == inside or where.startswith(f"{inside}/"):
                    return where.removeprefix(inside).lstrip("/") or "."
        return None


def _delete(path: Path) -> None:
    """Delete a file, or a folder unless others put something into it."""
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(OSError):
            path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _open_paths(pid: int) -> list[str]:
    process = Path("/proc") / str(pid)
    try:
        links = [process / "cwd", *(process / "fd").iterdir()]
        mapped = re.findall(
            r" (/.*)$", (process / "maps").read_text("utf-8", "replace"), re.MULTILINE
        )
    except OSError:  # it ended meanwhile
        return []
    found: list[str] = []
    for link in links:
        try:
            found.append(str(link.readlink()))
        except OSError:
            continue
    return found + mapped
