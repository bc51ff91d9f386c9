"""A caption page over loopback: datasets to open, the link, and the page in a browser."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.async_api import Page, expect

from bot.service.dataset_answers import PageLink
from bot.service.rights import GuildMember
from bot.service.threads import in_thread
from bot.web.browser import LINK_HEADER
from tests.media import mp4, png, write_zip
from tests.unit.bot.web.upload_side import LocalSide
from training.registry.dataset_draft import Upload
from training.registry.datasets import DatasetVersion

CAPTIONED: Mapping[str, bytes | str] = {
    "images/a.png": png(seed=1),
    "images/a.txt": "ann1ka at a window",
    "images/b.png": png(seed=2),
    "images/b.txt": "a portrait in soft light",
    "images/c.png": png(seed=3),
    "images/c.txt": "ann1ka in the garden",
    "videos/d.mp4": mp4(33, seed=4),
    "videos/d.txt": "ann1ka walks past the camera",
}
BARE = {name: content for name, content in CAPTIONED.items() if name != "images/c.txt"}


@dataclass
class CaptionSide:
    """A server with datasets, and what people do at its caption pages."""

    side: LocalSide
    folder: Path

    @property
    def guild(self) -> str:
        return self.side.guild

    async def add(
        self, files: Mapping[str, bytes | str], name: str = "annika", *, by: str = "7"
    ) -> DatasetVersion:
        """Store a version, which may lack captions."""

        def add() -> DatasetVersion:
            archive = write_zip(self.folder / "annika.zip", files)
            upload = Upload(archive=archive, by=by, file_name="annika.zip", trigger="ann1ka")
            datasets = self.side.installation.datasets
            draft = datasets.inspect(upload)
            return datasets.store(self.guild, name, draft, allows_missing_captions=True)

        return await in_thread(add)

    async def link(self, about: str = "annika@1", person: GuildMember | None = None) -> PageLink:
        captions = self.side.service.captions
        found = await captions.link(person or self.side.ada, about, channel=None)
        assert found is not None
        return found

    def captions(self) -> dict[str, str]:
        datasets = self.side.installation.datasets
        version = datasets.find(self.guild, "annika")
        return {one.name: one.caption for one in datasets.report(self.guild, version).samples}


@dataclass
class Browser:
    """A browser without a screen that has opened a link."""

    client: httpx.AsyncClient
    token: str

    @property
    def place(self) -> str:
        return f"/captions/{self.token.split('.')[1]}"

    async def bind(self) -> httpx.Response:
        return await self.client.post(f"{self.place}/bind", headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        return {LINK_HEADER: self.token}

    async def get(self, path: str = "") -> httpx.Response:
        return await self.client.get(self.place + path, headers=self.headers)

    async def post(self, path: str, body: object) -> httpx.Response:
        return await self.client.post(self.place + path, headers=self.headers, json=body)


def token_in(link: PageLink) -> str:
    return link.url.rpartition("#")[2]


async def is_open(page: Page, text: str = "annika@1") -> None:
    """Wait until the page shows a version."""
    await expect(page.get_by_role("heading", name=f"Captions of {text}")).to_be_visible()
