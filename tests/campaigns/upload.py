"""A browser that uploads a file through a link, and goes on where it stopped."""

import base64
from dataclasses import dataclass

import httpx

from bot.web.browser import LINK_HEADER
from bot.web.uploads.protocol import CONTENT_TYPE, VERSION

_PIECES = 8


@dataclass
class Upload:
    """One file on its way.

    Attributes:
        sent_bytes: How much of it the bot had when it was last asked.
    """

    http: httpx.AsyncClient
    link: str
    data: bytes
    name: str = "annika.zip"
    sent_bytes: int = 0

    async def go_on(self) -> bool:
        """Do the next thing that is left; return whether the file is stored.

        Raises:
            httpx.HTTPError: The bot is out of reach, or refuses.
        """
        if not self.http.cookies:
            await self._ask("POST", f"{self._place}/bind")
        state = (await self._ask("GET", self._place)).json()
        if state["status"] != "open":
            return state["status"] == "done"
        if not state["files"]:
            await self._create()
        elif await self._send(httpx.URL(self.link).join(state["files"][0]["url"])):
            await self._ask("POST", f"{self._place}/finish")
        return False

    @property
    def _place(self) -> str:
        """The address of the upload's session; the token tells its id."""
        base, _, token = self.link.partition("/upload#")
        return f"{base}/uploads/{token.split('.')[1]}"

    async def _create(self) -> None:
        name = base64.b64encode(self.name.encode()).decode()
        size = str(len(self.data))
        about = {"Upload-Length": size, "Upload-Metadata": f"path {name}"}
        await self._ask("POST", f"{self._place}/files", about)

    async def _send(self, file: httpx.URL) -> bool:
        """Send one more piece; return whether the file is complete."""
        start = int((await self._ask("HEAD", file)).headers["upload-offset"])
        piece = self.data[start : start + len(self.data) // _PIECES + 1]
        if piece:
            asked = {"Upload-Offset": str(start), "Content-Type": CONTENT_TYPE}
            await self._ask("PATCH", file, asked, piece)
        self.sent_bytes = start + len(piece)
        return self.sent_bytes == len(self.data)

    async def _ask(
        self,
        method: str,
        place: str | httpx.URL,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        own = {LINK_HEADER: self.link.partition("#")[2], "Tus-Resumable": VERSION}
        answer = await self.http.request(
            method, place, headers=own | (headers or {}), content=content
        )
        return answer.raise_for_status()
