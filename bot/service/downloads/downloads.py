"""Finds the content that a link to a run's files leads to."""

import threading
from pathlib import PurePosixPath

from cachetools import TTLCache

from bot.service.downloads.archive import zip_pieces
from bot.service.downloads.bundle import bundle, file_part
from bot.service.downloads.checks import known_checksum
from bot.service.downloads.content import Content, content
from bot.service.downloads.revocations import Revocations
from bot.service.links import LinkRevokedError, LinkSigner, Target
from training.errors import NotFoundError
from training.files.sizes import MIB
from training.pipeline.checkpoint_sets import sets
from training.ports import Store
from training.registry.trash import Trash
from training.runs.event_log import RunLog
from training.runs.state import Run

FRESH_SECONDS = 2.0  # reuse a run's record for this long: clients request many parts at once
_KNOWN_RUNS = 64
# Files of up to this size are checked before they are sent; for a damaged one, the client gets an
# error message instead. A larger file is checked while it is being sent; if it is damaged, the
# download breaks off before the last bytes.
_CHECKED_FIRST_BYTES = 16 * MIB


class Downloads:
    """Resolves links. Each run's record is read at most once every two seconds."""

    def __init__(self, store: Store, signer: LinkSigner) -> None:
        self._store = store
        self.revocations = Revocations(store)
        self._trash = Trash(store)
        self._signer = signer
        self._known = TTLCache[tuple[str, str], tuple[Run, int]](_KNOWN_RUNS, FRESH_SECONDS)
        self._lock = threading.Lock()

    def file(self, token: str, name: str) -> Content:
        """Return the checkpoint that a link leads to.

        Raises:
            TrainingError: The link is forged, expired or revoked, or the file is gone or damaged.
        """
        target = self._signer.read(token, name)
        run = self._run(target)
        for checkpoint in run.expert(target.expert).checkpoints:
            if checkpoint.file == target.file:
                part = file_part(self._store, run, checkpoint)
                reader = part.open()
                if part.size_bytes <= _CHECKED_FIRST_BYTES or known_checksum(reader) is not None:
                    part.check(reader)
                return content(name, "application/octet-stream", [part])
        raise NotFoundError(
            f"{PurePosixPath(name).name} is no longer stored.",
            "Use /download in Discord to see the remaining checkpoints.",
        )

    def archive(self, token: str, name: str) -> Content:
        """Return the zip that a link leads to.

        Raises:
            TrainingError: The link is forged, expired or revoked, or no checkpoint is left.
        """
        target = self._signer.read_archive(token, name)
        found = bundle(self._store, self._run(target), target.epoch)
        return content(name, "application/zip", zip_pieces(found.members))

    def small_files(self, run: Run, epoch: int, limit_bytes: int) -> list[tuple[str, bytes]]:
        """Return the names and contents of an epoch's checkpoints.

        Returns:
            An empty list if the checkpoints are larger than `limit_bytes` in total, or if one is
            missing or damaged.
        """
        files = [f for one in sets(run) if one.epoch == epoch for f in one.files.values()]
        if sum(file.size_bytes for file in files) > limit_bytes:
            return []
        try:
            parts = [file_part(self._store, run, file) for file in files]
            return [
                (PurePosixPath(part.key).name, part.checked().read(0, part.size_bytes))
                for part in parts
            ]
        except NotFoundError:
            return []

    def revoke(self, guild: str, run: str) -> None:
        """Revoke all existing links to a run. In this process, they stop working at once."""
        self.revocations.revoke(guild, run)
        self.forget(guild, run)

    def forget(self, guild: str, run: str) -> None:
        """Remove a run's record from the cache, so that it is read again when needed."""
        with self._lock:
            self._known.pop((guild, run), None)

    def _run(self, target: Target) -> Run:
        key = (target.guild, target.run)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            run = RunLog(self._store, *key).load()
            self._trash.refuse_removed(target.guild, "runs", [target.run], name=target.run)
            known = run, self.revocations.count(*key)
            with self._lock:
                self._known[key] = known
        run, revoked = known
        if target.revocations != revoked:
            raise LinkRevokedError(
                f"This link to {target.run} has been revoked.",
                "Use /download in Discord to get a new one.",
            )
        return run
