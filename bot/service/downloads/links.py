"""Links that are signed and expire; what a link leads to is part of what is signed."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import get_args
from urllib.parse import quote

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner

from bot.messages.figures import duration
from training.errors import TrainingError
from training.vocabulary import ExpertName

LINK_HOURS = 24.0

_HOUR = 60 * 60  # seconds
# No dot: dots separate the parts of a token.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FILE = re.compile(rf"checkpoints/(?P<expert>{'|'.join(get_args(ExpertName))})/(?P<name>[^/]+)")
_ARCHIVE = re.compile(r"(?:-e(?P<epoch>\d{1,6}))?\.zip")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\.safetensors")


class LinkForgedError(TrainingError):
    """A link that was not made here, or was changed."""


class LinkExpiredError(TrainingError):
    """A link that was good for a time, and no longer is."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a link leads to: one checkpoint, or a zip of all or of one epoch.

    `file` is relative to the run's folder.
    """

    guild: str
    run: str
    file: str | None = None
    epoch: int | None = None

    def __post_init__(self) -> None:
        if not (_NAME.fullmatch(self.guild) and _NAME.fullmatch(self.run)):
            raise ValueError(f"not a run that can be linked: {self.guild!r}, {self.run!r}")
        if self.file is not None and not is_checkpoint(self.file):
            raise ValueError(f"not a checkpoint: {self.file!r}")


def is_checkpoint(file: str) -> bool:
    """Return whether a path in a run's folder is that of a checkpoint, which can be handed out."""
    match = _FILE.fullmatch(file)
    return match is not None and _FILE_NAME.fullmatch(match["name"]) is not None


class LinkSigner:
    """Makes links and reads them; `base_url` is where the web side is reached from outside."""

    def __init__(
        self,
        secret: bytes,
        base_url: str = "",
        clock: Callable[[], float] = time.time,
        *,
        hours: float = LINK_HOURS,
    ) -> None:
        self.base_url = base_url
        self._hours = hours
        self._files = _Signer(secret, "checkpoint", clock)
        self._archives = _Signer(secret, "archive", clock)

    def link(self, guild: str, run: str, file: str) -> str:
        """Return the address of one checkpoint; `file` is relative to the run's folder.

        Raises:
            ValueError: It is not a checkpoint: nothing else is ever linked.
        """
        target = Target(guild, run, file)
        path = PurePosixPath(file)
        stamp = self._files.stamp(_signed(target))
        token = ".".join((guild, run, path.parent.name, stamp))
        return f"{self._base()}/d/{token}/{quote(path.name)}"

    def archive_link(self, guild: str, run: str, epoch: int | None = None) -> str:
        """Return the address of a zip of all checkpoints of a run, or of those of one epoch.

        Raises:
            ValueError: The names cannot be those of a guild and a run.
        """
        stamp = self._archives.stamp(_signed(Target(guild, run, epoch=epoch)))
        name = run if epoch is None else f"{run}-e{epoch}"
        return f"{self._base()}/z/{guild}.{run}.{stamp}/{name}.zip"

    def read(self, token: str, file_name: str) -> Target:
        """Return the checkpoint that a token and the file name after it lead to.

        Raises:
            LinkForgedError: One of them is not what was signed.
            LinkExpiredError: The link is too old.
        """
        guild, run, expert, *stamp = _parts(token, 5)
        target = _target(guild, run, f"checkpoints/{expert}/{file_name}")
        self._files.check(_signed(target), ".".join(stamp), self._hours)
        return target

    def read_archive(self, token: str, file_name: str) -> Target:
        """Return the run that an archive's token and file name lead to.

        Raises:
            LinkForgedError: One of them is not what was signed.
            LinkExpiredError: The link is too old.
        """
        guild, run, *stamp = _parts(token, 4)
        match = _ARCHIVE.fullmatch(file_name.removeprefix(run))
        if not file_name.startswith(run) or match is None:
            raise _forged()
        target = _target(guild, run, None, int(match["epoch"]) if match["epoch"] else None)
        self._archives.check(_signed(target), ".".join(stamp), self._hours)
        return target

    def _base(self) -> str:
        if not self.base_url:
            raise ValueError("links need the address of the web side: set base_url")
        return self.base_url.rstrip("/")


class _Signer(TimestampSigner):
    """Signs with the time of `clock`; stamps of another purpose are not accepted."""

    def __init__(self, secret: bytes, purpose: str, clock: Callable[[], float]) -> None:
        super().__init__(secret, salt=f"lorabot.{purpose}")
        self._clock = clock

    def get_timestamp(self) -> int:
        """Return the seconds since the epoch."""
        return int(self._clock())

    def stamp(self, value: str) -> str:
        """Return time and signature, without the value that they belong to."""
        return self.sign(value).decode().removeprefix(f"{value}.")

    def check(self, value: str, stamp: str, hours: float) -> None:
        """Raise unless `stamp` was made for `value`, not longer ago than `hours`."""
        try:
            self.unsign(f"{value}.{stamp}", max_age=int(hours * _HOUR))
        except SignatureExpired as error:
            raise LinkExpiredError(
                f"This link has expired: links are good for {duration(hours * _HOUR)}.",
                "Use /download again in Discord to get a new one.",
            ) from error
        except BadSignature as error:
            raise _forged() from error


def _signed(target: Target) -> str:
    # No file's name begins like an epoch's: files lie in the folder checkpoints.
    what = target.file or ("" if target.epoch is None else f"e{target.epoch}")
    return f"{target.guild}/{target.run}/{what}"


def _parts(token: str, number: int) -> list[str]:
    parts = token.split(".")
    if len(parts) != number:
        raise _forged()
    return parts


def _target(guild: str, run: str, file: str | None, epoch: int | None = None) -> Target:
    try:
        return Target(guild, run, file, epoch)
    except ValueError as error:
        raise _forged() from error


def _forged() -> LinkForgedError:
    return LinkForgedError(
        "This link is not complete, or it was changed on its way.",
        "Copy it again as a whole, or use /download in Discord to get a new one.",
    )
