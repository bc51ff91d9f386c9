"""Finds the files that a user's link leads to: their URLs, names and sizes."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from typing import Any

import aiohttp
from aiohttp import hdrs
from yarl import URL

from bot.service.imports.public_web import AddressRefusedError, PublicWeb
from training.dataset.limits import Limits
from training.files.sizes import size
from training.registry.uploads.session import RemoteFile
from training.registry.uploads.sessions import TooLargeError
from training.wording import count

_DRIVE_FILE = re.compile(r"/file/d/([\w-]{10,})(?:/|$)")
_HUB_REPO = re.compile(r"/datasets/([\w.-]+/[\w.-]+)(?:/(tree|blob|resolve)/([^/]+)(?:/(.+?))?)?/?")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_NOT_DATA = frozenset({".gitattributes", "README.md"})
_MOST_NAME = 120  # characters
Headers = Mapping[str, str]
Token = Callable[[str], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Services:
    """The URLs and host names of file services; tests replace them with local servers."""

    drive: str = "https://drive.usercontent.google.com"
    drive_pages: frozenset[str] = frozenset({"drive.google.com", "drive.usercontent.google.com"})
    dropbox_pages: frozenset[str] = frozenset({"www.dropbox.com", "dropbox.com"})
    hub: str = "https://huggingface.co"


class Sources:
    """Finds files using `web`. `token` returns the token for a Hugging Face repository, if any."""

    def __init__(
        self,
        web: PublicWeb,
        limits: Limits,
        *,
        services: Services | None = None,
        token: Token,
    ) -> None:
        self._web, self._limits = web, limits
        self._services = services or Services()
        self._token = token

    async def find(self, address: str) -> tuple[RemoteFile, ...]:
        """Return the files that a link leads to.

        Raises:
            AddressRefusedError: The link does not lead to a file, or a file's size is unknown.
            TooLargeError: There are too many files, or they are too large.
            ConnectionLostError: The other server cannot be reached.
        """
        link = address.strip().strip("<>")
        repo = self._hub_match(link)
        if repo is not None and repo[2] in (None, "tree"):
            files = await self._hub_files(repo[1], repo[3] or "main", repo[4] or "")
        else:
            files = (await self._one(self.direct(link), await self.headers(link)),)
        total = sum(file.size_bytes for file in files)
        most = self._limits.archive_bytes
        if total > most or len(files) > self._limits.files:
            raise TooLargeError(
                f"The link leads to {count(len(files), 'file')}, {size(total)} in all; the limits "
                f"are {self._limits.files:,} files and {size(most)}.",
                "Split the dataset, or shorten the clips.",
            )
        return files

    async def headers(self, link: str) -> Headers:
        """Return the headers for requesting a link, or a file that it leads to."""
        repo = self._hub_match(link)
        token = await self._token(repo[1]) if repo is not None else None
        return {hdrs.AUTHORIZATION: f"Bearer {token}"} if token else {}

    def direct(self, link: str) -> str:
        """Return the file's URL if the link leads to a file's page, or else the link itself."""
        url = self._parsed(link)
        services = self._services
        if url.host in services.drive_pages:
            match = _DRIVE_FILE.match(url.path)
            found = match[1] if match is not None else url.query.get("id")
            if found is None:
                raise AddressRefusedError(
                    "This Google Drive link does not lead to a single file.",
                    "Zip the folder in Drive, share the zip, and give the zip's link.",
                )
            # Without `confirm`, Drive shows a warning that it cannot scan the file for viruses.
            query = {"id": found, "export": "download", "confirm": "t"}
            return str(URL(services.drive).with_path("/download").with_query(query))
        if url.host in services.dropbox_pages:
            return str(url.update_query(dl="1"))
        if (repo := self._hub_match(link)) is not None and repo[2] == "blob":
            return link.replace("/blob/", "/resolve/", 1)
        return link

    def _parsed(self, link: str) -> URL:
        try:
            return URL(link)
        except ValueError:
            return URL()

    def _hub_match(self, link: str) -> re.Match[str] | None:
        url, hub = self._parsed(link), URL(self._services.hub)
        is_hub = (url.scheme, url.authority) == (hub.scheme, hub.authority)
        return _HUB_REPO.fullmatch(url.path) if is_hub else None

    async def _hub_files(self, repo: str, revision: str, folder: str) -> tuple[RemoteFile, ...]:
        """Return the files of a repository, pinned to the newest commit of `revision`."""
        hub = self._services.hub
        headers = await self.headers(f"{hub}/datasets/{repo}")
        about, _ = await self._web.json(f"{hub}/api/datasets/{repo}/revision/{revision}", headers)
        commit, place = _commit(about), f"/{folder}" if folder else ""
        page: str | None = f"{hub}/api/datasets/{repo}/tree/{commit}{place}?recursive=true"
        root = f"{hub}/datasets/{repo}/resolve/{commit}"
        files: list[RemoteFile] = []
        while page is not None and len(files) <= self._limits.files:
            entries, page = await self._web.json(page, headers)
            files += [_hub_file(root, one) for one in _entries(entries) if _is_data(one)]
        if not files:
            raise AddressRefusedError(f"{repo} has no files at this path.", "Check the link.")
        return tuple(files)

    async def _one(self, address: str, headers: Headers) -> RemoteFile:
        async with self._web.get(address, headers) as answer:
            found = answer.headers
            if answer.content_type == "text/html":
                raise AddressRefusedError(
                    f"The link to {answer.url.host} shows a web page, not a file.",
                    "Give a link that downloads the file, and share the file with everyone who has "
                    "the link.",
                )
            if answer.content_length is None:
                raise AddressRefusedError(
                    f"{answer.url.host} does not report the file's size.",
                    "Give another link, or upload the file with /dataset upload.",
                )
            return RemoteFile(
                url=address,
                path=_name(answer),
                size_bytes=answer.content_length,
                etag=found.get(hdrs.ETAG, ""),
                modified_ms=_milliseconds(found.get(hdrs.LAST_MODIFIED, "")),
            )


def _entries(document: object) -> list[Any]:
    if not isinstance(document, list):
        raise AddressRefusedError("The repository cannot be listed.", "Check the link.")
    return document  # type: ignore[reportUnknownVariableType]  # each entry's type is checked later


def _commit(document: object) -> str:
    match document:
        case {"sha": str(commit)} if _COMMIT.fullmatch(commit):
            return commit
        case _:
            raise AddressRefusedError("The repository has no such revision.", "Check the link.")


def _is_data(entry: Any) -> bool:
    match entry:
        case {"type": "file", "path": str(path), "size": int()}:
            return PurePosixPath(path).name not in _NOT_DATA
        case _:
            return False


def _hub_file(root: str, entry: Mapping[str, Any]) -> RemoteFile:
    path = str(entry["path"])
    return RemoteFile(
        url=str(URL(root).joinpath(*path.split("/"))),
        path=path,
        size_bytes=int(entry["size"]),
        is_immutable=True,
    )


def _name(answer: aiohttp.ClientResponse) -> str:
    """Return the file name that the server gives, or else the last part of the URL."""
    told = answer.content_disposition
    name = (told.filename if told is not None else None) or answer.url.name or "import.zip"
    name = name.replace("\\", "/").rpartition("/")[2][-_MOST_NAME:]
    is_zip = answer.content_type in ("application/zip", "application/x-zip-compressed")
    return f"{name}.zip" if is_zip and "." not in name else name


def _milliseconds(date: str) -> int:
    try:
        return round(parsedate_to_datetime(date).timestamp() * 1000)
    except (TypeError, ValueError):
        return 0
