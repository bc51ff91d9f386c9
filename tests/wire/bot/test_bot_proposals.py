"""`/dataset caption`: proposals by the stand-in at once, by an endpoint after a confirmation."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.hosting.local import LocalInstallation
from bot.messages.datasets.cards import PROPOSING
from bot.sandbox.client import Message
from bot.settings import Settings
from tests.media import mp4, png, write_zip
from tests.wire.bot.chat import ROLE, Chat
from tests.wire.bot.stored import captions, versions
from tests.wire.captioning.completions import KEY, MODEL, Completions, Reply, completion, serving
from training.registry.proposals import Proposal

FILES: dict[str, bytes | str] = {
    "images/000.png": png(),
    "images/000.txt": "ann1ka at a window",
    "images/001.png": png(seed=1),
    "videos/002.mp4": mp4(49, seed=5),
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "annika.zip", FILES)


def proposals(local: LocalInstallation) -> dict[str, Proposal]:
    (guild,) = (guild for guild in local.guilds() if local.datasets.names(guild))
    return dict(local.proposals.read(guild, "annika"))


async def finished(chat: Chat, asked: Message) -> Message:
    """Press Start, and return the message once it shows the result."""
    await chat.user.press(asked, "Start")
    return await chat.user.wait_for(
        lambda message: message.id == asked.id and "proposed" in message.title, timeout=120
    )


async def test_the_stand_in_proposes_at_once_and_no_caption_changes(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    kept = await ada.ask("dataset add", name="annika", zip=archive, trigger="ann1ka")
    assert "2 captions to write" in kept.text
    assert versions(local) == []

    done = await ada.ask("dataset caption", name="annika")

    assert "annika@1: 2 captions proposed" in done.text
    assert "no caption has changed" in done.text
    (version,) = versions(local)
    assert version.without_caption == 2
    assert captions(local, "annika@1")["images/001.png"] == ""
    found = proposals(local)
    assert list(found) == ["images/001.png", "videos/002.mp4"]
    assert all(one.text.startswith("ann1ka, ") for one in found.values())
    assert all("stand-in" in one.captioner for one in found.values())
    refused = await ada.ask("train", model="wan21-t2v-1-3b", dataset="annika")
    assert "cannot be trained on yet" in refused.text


async def test_all_samples_can_get_proposals_beside_their_captions(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)

    done = await ada.ask("dataset caption", name="annika", which="all", **{"for": "style"})

    assert "3 captions proposed" in done.text
    assert captions(local, "annika@1")["images/000.png"] == "ann1ka at a window"


async def test_only_those_who_may_change_a_dataset_can_ask_for_proposals(
    ada: Chat, ben: Chat, archive: Path, local: LocalInstallation
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("dataset caption", name="annika")

    refused = await ben.ask("dataset caption", name="annika", which="all")

    assert "belongs to somebody else" in refused.text
    assert len(proposals(local)) == 2


class TestEndpoint:
    """The bot captions through an endpoint."""

    @pytest.fixture
    def server_of_captions(self) -> Iterator[Completions]:
        refusal = completion("I'm sorry, but I can't help with that.")
        with serving(refusal, completion("ann1ka walks past a wall.")) as serving_now:
            yield serving_now

    @pytest.fixture
    def local(self, tmp_path: Path, server_of_captions: Completions) -> LocalInstallation:
        settings = Settings(
            home=tmp_path / "home",
            team_role=ROLE,
            caption_url=server_of_captions.url,
            caption_model=MODEL,
            caption_key=SecretStr(KEY),
        )
        return LocalInstallation(settings)

    async def test_an_endpoint_is_asked_only_after_start(
        self, ada: Chat, archive: Path, local: LocalInstallation, server_of_captions: Completions
    ) -> None:
        await ada.ask("dataset add", name="annika", zip=archive, trigger="ann1ka")

        asked = await ada.ask("dataset caption", name="annika")
        before = list(server_of_captions.asked)
        done = await finished(ada, asked)

        assert before == []
        assert "Propose captions for annika@1?" in asked.text
        assert f"{MODEL} would caption 2 samples (8 frames)" in asked.text
        assert "are sent to 127.0.0.1" in asked.text
        assert "does not know the price" in asked.text
        assert "1 caption proposed" in done.text
        assert "1 sample without a proposal: the captioner refused" in done.text
        (found,) = proposals(local).values()
        assert (found.text, found.captioner) == ("ann1ka walks past a wall.", MODEL)

    async def test_all_samples_are_sent_after_start(
        self, ada: Chat, archive: Path, local: LocalInstallation, server_of_captions: Completions
    ) -> None:
        server_of_captions.replies[:] = [completion("ann1ka stands.")]
        await ada.ask("dataset add", name="annika", zip=archive, trigger="ann1ka")

        asked = await ada.ask("dataset caption", name="annika", which="all")
        done = await finished(ada, asked)

        assert f"{MODEL} would caption 3 samples" in asked.text
        assert "3 captions proposed" in done.text

    async def test_a_wrong_key_is_told_and_nothing_is_stored(
        self, ada: Chat, archive: Path, local: LocalInstallation, server_of_captions: Completions
    ) -> None:
        server_of_captions.replies[:] = [Reply(401)]
        await ada.ask("dataset add", name="annika", zip=archive)

        asked = await ada.ask("dataset caption", name="annika")
        await ada.user.press(asked, "Start")
        await ada.user.wait_for(lambda message: "refuses the key" in message.text)

        assert all(PROPOSING not in message.text for message in await ada.user.messages())
        assert proposals(local) == {}
