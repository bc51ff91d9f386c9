"""Signed, expiring links to downloads and pages. The signature covers the link's target."""

import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal, get_args
from urllib.parse import quote

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner

from bot.messages.figures import duration
from training.errors import RequestError, TrainingError
from training.vocabulary import ExpertName

LINK_HOURS = 24.0

_HOUR = 60 * 60  # seconds
_RENEWAL = "Use /download again in Discord to get a new one."
PageName = Literal["upload", "captions"]
_PAGE_RENEWALS: Mapping[PageName, str] = MappingProxyType(
    {
        "upload": "Use /dataset upload or /checkpoint upload in Discord to get a new one.",
        "captions": "Use /dataset captions in Discord to get a new one.",
    }
)
# Names have no dot, because dots separate the parts of a token.
_NUMBER = re.compile(r"[0-9]{1,10}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FILE = re.compile(rf"checkpoints/(?P<expert>{'|'.join(get_args(ExpertName))})/(?P<name>[^/]+)")
_ARCHIVE = re.compile(r"(?:-e(?P<epoch>\d{1,6}))?\.zip")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\.safetensors")


class LinkForgedError(TrainingError):
    """The link was not made by this bot, or was changed."""


class LinkExpiredError(TrainingError):
    """The link has expired."""


class LinkRevokedError(LinkExpiredError):
    """The link was revoked."""


class LinkBoundError(RequestError):
    """The link was opened in another browser."""


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a link: a checkpoint, or a zip of the checkpoints of a run or of an epoch.

    Attributes:
        file: The checkpoint's path, relative to the run's folder; None for a zip.
        epoch: The epoch of a zip; None for a single checkpoint, or a zip of all epochs.
        revocations: How often the run's links had been revoked when this link was made.
    """

    guild: str
    run: str
    file: str | None = None
    epoch: int | None = None
    revocations: int = 0

    def __post_init__(self) -> None:
        if not (_NAME.fullmatch(self.guild) and _NAME.fullmatch(self.run)):
            raise ValueError(f"cannot link to the run {self.guild!r}, {self.run!r}")
        if self.file is not None and not is_checkpoint(self.file):
            raise ValueError(f"not a checkpoint: {self.file!r}")

    @property
    def expert(self) -> ExpertName:
        """Return the expert to which the checkpoint `file` belongs.

        Raises:
            ValueError: The target is a zip.
        """
        match = _FILE.fullmatch(self.file or "")
        for expert in get_args(ExpertName):
            if match is not None and match["expert"] == expert:
                return expert
        raise ValueError(f"not a checkpoint: {self.file!r}")


def is_checkpoint(file: str) -> bool:
    """Return whether a path in a run's folder is a checkpoint. Other files cannot be linked to."""
    match = _FILE.fullmatch(file)
    return match is not None and _FILE_NAME.fullmatch(match["name"]) is not None


class LinkSigner:
    """Makes and verifies links.

    Attributes:
        base_url: The public URL of the web server.
        hours: How long a link works.
    """

    def __init__(
        self,
        secret: bytes,
        base_url: str = "",
        clock: Callable[[], float] = time.time,
        *,
        hours: float = LINK_HOURS,
    ) -> None:
        self.base_url = base_url
        self.hours = hours
        self._files = _Signer(secret, "checkpoint", clock)
        self._archives = _Signer(secret, "archive", clock)
        self._pages = {
            page: _Signer(secret, page, clock, renewal) for page, renewal in _PAGE_RENEWALS.items()
        }
        self._browsers = _Signer(secret, "browser", clock)

    def link(self, guild: str, run: str, file: str, revocations: int = 0) -> str:
        """Return a link to a checkpoint; `file` is relative to the folder of the run.

        Raises:
            ValueError: The file is not a checkpoint.
        """
        path = PurePosixPath(file)
        target = Target(guild, run, file, revocations=revocations)
        stamp = self._files.stamp(_signed(target))
        token = ".".join((guild, run, path.parent.name, str(revocations), stamp))
        return f"{self._base()}/d/{token}/{quote(path.name)}"

    def archive_link(
        self, guild: str, run: str, epoch: int | None = None, revocations: int = 0
    ) -> str:
        """Return a link to a zip of all checkpoints of a run, or of one epoch.

        Raises:
            ValueError: `guild` or `run` is not a valid name.
        """
        target = Target(guild, run, epoch=epoch, revocations=revocations)
        stamp = self._archives.stamp(_signed(target))
        name = run if epoch is None else f"{run}-e{epoch}"
        return f"{self._base()}/z/{guild}.{run}.{revocations}.{stamp}/{name}.zip"

    def read(self, token: str, file_name: str) -> Target:
        """Verify a link to a checkpoint and return its target.

        Raises:
            LinkForgedError: The signature does not match.
            LinkExpiredError: The link has expired.
        """
        guild, run, expert, revocations, *stamp = _parts(token, 6)
        target = _target(guild, run, revocations, file=f"checkpoints/{expert}/{file_name}")
        self._files.check(_signed(target), ".".join(stamp), self.hours)
        return target

    def read_archive(self, token: str, file_name: str) -> Target:
        """Verify a link to a zip and return its target.

        Raises:
            LinkForgedError: The signature does not match.
            LinkExpiredError: The link has expired.
        """
        guild, run, revocations, *stamp = _parts(token, 5)
        match = _ARCHIVE.fullmatch(file_name.removeprefix(run))
        if not file_name.startswith(run) or match is None:
            raise _forged()
        epoch = int(match["epoch"]) if match["epoch"] else None
        target = _target(guild, run, revocations, epoch=epoch)
        self._archives.check(_signed(target), ".".join(stamp), self.hours)
        return target

    def page_link(self, page: PageName, guild: str, session: str) -> str:
        """Return a link to a page that one person uses during a session.

        The secret is in the link's fragment, which browsers never send to a server, so no log
        contains it.
        """
        return f"{self._base()}/{page}#{self.page_token(page, guild, session)}"

    def page_token(self, page: PageName, guild: str, session: str) -> str:
        stamp = self._pages[page].stamp(_session(guild, session))
        return f"{guild}.{session}.{stamp}"

    def read_page(self, page: PageName, token: str) -> tuple[str, str]:
        """Verify the token of a link to a page and return its guild and session.

        Raises:
            LinkForgedError: The signature does not match.
            LinkExpiredError: The link has expired.
        """
        guild, session, *stamp = _parts(token, 4)
        self._pages[page].check(_session(guild, session), ".".join(stamp), self.hours)
        return guild, session

    def read_bound(self, page: PageName, token: str, proof: str, session: str) -> str:
        """Verify a token and a browser's cookie for a session, and return the session's guild.

        Raises:
            LinkBoundError: The browser has no cookie for the session, or the token is for another.
            TrainingError: The token is forged or has expired.
        """
        guild, own = self.read_page(page, token)
        if own != session:
            raise _bound(page)
        self.require_browser(page, guild, session, proof)
        return guild

    def require_browser(self, page: PageName, guild: str, session: str, proof: str) -> None:
        """Raise `LinkBoundError` unless `proof` is the cookie value for the session."""
        wanted = self.browser_proof(guild, session)
        if not hmac.compare_digest(wanted.encode(), proof.encode()):
            raise _bound(page)

    def browser_proof(self, guild: str, session: str) -> str:
        """Return the cookie value that ties a page to the first browser that opens it."""
        return self._browsers.signature(_session(guild, session))

    def _base(self) -> str:
        if not self.base_url:
            raise ValueError("links need the URL of the web server: set base_url")
        return self.base_url.rstrip("/")


class _Signer(TimestampSigner):
    """Makes stamps: signatures of a value and the current time, each valid for one purpose only."""

    def __init__(
        self, secret: bytes, purpose: str, clock: Callable[[], float], renewal: str = _RENEWAL
    ) -> None:
        super().__init__(secret, salt=f"lorabot.{purpose}")
        self._clock = clock
        self._renewal = renewal

    def get_timestamp(self) -> int:
        return int(self._clock())

    def stamp(self, value: str) -> str:
        """Return a stamp for `value`: the time and a signature, but not the value itself."""
        return self.sign(value).decode().removeprefix(f"{value}.")

    def signature(self, value: str) -> str:
        return self.get_signature(value).decode()

    def check(self, value: str, stamp: str, hours: float) -> None:
        """Raise a link error unless `stamp` was made for `value` in the last `hours`."""
        try:
            self.unsign(f"{value}.{stamp}", max_age=int(hours * _HOUR))
        except SignatureExpired as error:
            raise LinkExpiredError(
                f"This link has expired; links work for {duration(hours * _HOUR)}.",
                self._renewal,
            ) from error
        except BadSignature as error:
            raise _forged() from error


def _signed(target: Target) -> str:
    # An epoch cannot be mistaken for a file, because a file's path starts with `checkpoints/`.
    what = target.file or ("" if target.epoch is None else f"e{target.epoch}")
    return f"{target.guild}/{target.run}/{target.revocations}/{what}"


def _session(guild: str, session: str) -> str:
    return f"{guild}/{session}"


def _bound(page: PageName) -> LinkBoundError:
    return LinkBoundError(
        "This link was opened in another browser; it only works there.", _PAGE_RENEWALS[page]
    )


def _parts(token: str, number: int) -> list[str]:
    parts = token.split(".")
    if len(parts) != number:
        raise _forged()
    return parts


def _target(
    guild: str, run: str, revocations: str, *, file: str | None = None, epoch: int | None = None
) -> Target:
    if _NUMBER.fullmatch(revocations) is None:
        raise _forged()
    try:
        return Target(guild, run, file, epoch, int(revocations))
    except ValueError as error:
        raise _forged() from error


def _forged() -> LinkForgedError:
    return LinkForgedError(
        "This link is incomplete or was changed.",
        "Copy the whole link again, or get a new one in Discord.",
    )
