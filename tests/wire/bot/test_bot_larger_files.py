"""A file too large for chat: its refusal has a button, whose link carries what was asked for."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.messages.uploads import LARGER
from bot.sandbox.client import Message
from bot.web.browser import LINK_HEADER
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import press

T2V = "wan21-t2v-1-3b"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A zip above the limit of this bot, and below that of the chat."""
    return of_six_mib(tmp_path / "annika.zip")


def of_six_mib(path: Path) -> Path:
    path.write_bytes(bytes(6 << 20))
    return path


async def opened(chat: Chat, refused: Message) -> dict[str, Any]:
    """Press the button of a refusal; return what the page behind its link shows."""
    return await behind(await press(chat, refused, LARGER))


async def behind(given: Message) -> dict[str, Any]:
    """Return what the page behind a link shows."""
    (url,) = (str(one["url"]) for one in given.buttons.values() if "url" in one)
    assert given.ephemeral
    base, token = url.split("/upload#")
    place, headers = f"{base}/uploads/{token.split('.')[1]}", {LINK_HEADER: token}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
        (await client.post(f"{place}/bind")).raise_for_status()
        return (await client.get(place)).json()


async def test_a_large_dataset_goes_on_by_a_link_with_the_same_options(
    ada: Chat, archive: Path, large: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    options = {"mode": "add", "trigger": "ann1ka"}

    refused = await ada.ask("dataset add", name="annika", zip=large, **options)
    page = await opened(ada, refused)

    assert "annika.zip is 6.0 MiB; the limit in chat is 5.0 MiB." in refused.text
    assert "6.0 GiB" in refused.text
    assert page["title"] == "Upload to annika"
    assert "ann1ka" in page["about"]
    assert "added to those of the newest version" in page["about"]


async def test_a_large_zip_to_check_goes_on_by_a_link_that_stores_nothing(
    ada: Chat, large: Path
) -> None:
    page = await opened(ada, await ada.ask("dataset check", zip=large))

    assert page["title"] == "Check files for annika"


async def test_a_large_attachment_of_a_message_goes_on_by_a_link(ada: Chat, large: Path) -> None:
    message = await ada.user.post("our new set", [large])

    refused = await ada.user.reply(await ada.user.context("Use as dataset", message))

    assert (await opened(ada, refused))["title"] == "Upload to annika"


async def test_a_large_lora_goes_on_by_a_link(ada: Chat, tmp_path: Path) -> None:
    lora = of_six_mib(tmp_path / "old.safetensors")

    page = await opened(ada, await ada.ask("checkpoint add", file=lora, model=T2V, name="mine"))

    assert page["title"] == f"Upload a LoRA for {T2V}"
    assert page["kind"] == "lora"


async def test_links_for_files_of_any_size_are_given_and_revoked(ada: Chat) -> None:
    dataset = await ada.ask("dataset upload", name="annika", trigger="ann1ka")
    lora = await ada.ask("checkpoint upload", model=T2V, name="mine")

    titles = [(await behind(given))["title"] for given in (dataset, lora)]
    revoked = [(await press(ada, given, "Revoke")).text for given in (dataset, lora)]

    assert titles == ["Upload to annika", f"Upload a LoRA for {T2V}"]
    assert all("no longer works" in text for text in revoked), revoked
    with pytest.raises(httpx.HTTPStatusError):
        await behind(dataset)
