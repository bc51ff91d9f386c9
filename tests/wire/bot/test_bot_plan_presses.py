"""A plan whose buttons are pressed twice, late, by others, or after something has changed."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.discord.buttons.plans import PlanButton
from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message, SandboxUser
from bot.sandbox.server import SandboxServer
from bot.settings import Settings
from tests.wire.bot.chat import ROLE, Chat
from tests.wire.bot.copies import Copies
from tests.wire.bot.forged import forged
from training.estimates.prices import PriceList, listed_prices
from training.operations.drafts import PLAN_LIFE, Draft, Drafts
from training.store_keys import drafts

# Nothing needs to train here: a run that has started stays in the queue.
pytestmark = pytest.mark.usefixtures("no_worker")
T2V = "wan21-t2v-1-3b"
UNUSUAL = {"epochs": "1", "learning_rate": "0.1", "name": "mine"}
REFUSED = "belongs to somebody else"


@dataclass
class Outside:
    """What changes outside the bot: the time, and the prices of GPUs."""

    later: timedelta = timedelta()
    times_dearer: float = 1.0

    def prices(self) -> PriceList:
        listed = listed_prices()
        dearer = {gpu: usd * self.times_dearer for gpu, usd in listed.usd_per_second.items()}
        return replace(listed, usd_per_second=dearer)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def local(tmp_path: Path, outside: Outside) -> LocalInstallation:
    found = LocalInstallation(Settings(home=tmp_path / "home", team_role=ROLE))
    clock = found.runtime.clock

    def now() -> datetime:
        return clock() + outside.later

    found.runtime = replace(found.runtime, clock=now, prices=outside.prices)
    return found


@pytest.fixture
async def plan(ada: Chat, archive: Path) -> Message:
    """Ada's plan of an unusual run."""
    return await plan_of(ada, archive)


async def plan_of(chat: Chat, archive: Path) -> Message:
    await chat.ask("dataset add", name="annika", zip=archive)
    return await chat.ask("train", model=T2V, dataset="annika", **UNUSUAL)


async def press(chat: Chat, message: Message, button: str) -> Message:
    pressed = await chat.user.press(message, button)
    assert pressed.status != "failed"
    return await chat.user.reply(pressed)


async def change(chat: Chat, message: Message, toml: str) -> Message:
    """Send the dialog of Change with this text."""
    opened = (await chat.user.press(message, "Change")).modal
    assert opened is not None
    return await chat.user.reply(await chat.user.submit(opened, {"Settings (TOML)": toml}))


def runs(local: LocalInstallation) -> list[str]:
    return [run.name for guild in local.guilds() for run in local.runs.summaries(guild)]


def draft_of(local: LocalInstallation) -> Draft:
    """Return the only stored draft."""
    (guild,) = local.guilds()
    (name,) = local.runtime.store.names(drafts(guild))
    return Drafts(local.runtime.store).find(guild, name.removesuffix(".json"))


async def test_until_start_only_the_draft_is_stored(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    before = stored(local)

    shown = await ada.ask("train", model=T2V, dataset="annika", **UNUSUAL)
    with_plan = stored(local)
    again = await change(ada, shown, "rank = 8\nlearning_rate = 0.1")
    changed = stored(local)
    await press(ada, again, "Dismiss")

    (guild,) = local.guilds()
    (draft,) = with_plan - before
    assert draft.startswith(f"{drafts(guild)}/")
    assert changed == with_plan
    assert stored(local) == before


def stored(local: LocalInstallation) -> set[str]:
    """Return the keys of all that is stored of servers."""
    return {file.key for file in local.runtime.store.walk("guilds")}


async def test_two_presses_at_once_start_one_run(
    ada: Chat, plan: Message, local: LocalInstallation
) -> None:
    answers = await asyncio.gather(*(press(ada, plan, "Start") for _ in range(2)))

    assert runs(local) == ["mine"]
    assert {answer.id for answer in answers} == {plan.id}
    assert {answer.title for answer in answers} == {"mine"}
    await ada.card("mine")
    assert len([one for one in await ada.user.messages() if one.title.startswith("mine: ")]) == 1


async def test_whatever_has_changed_is_shown_before_the_run_starts(
    ada: Chat, plan: Message, local: LocalInstallation, outside: Outside, archive: Path
) -> None:
    outside.times_dearer = 2.0
    dearer = await press(ada, plan, "Start")
    outside.later = PLAN_LIFE + timedelta(minutes=1)
    late = await press(ada, dearer, "Start")
    show_another_rank(local)
    other = await press(ada, late, "Start")
    await ada.ask("dataset add", name="annika", zip=archive, trigger="ohwx")
    newer = await press(ada, other, "Start")
    before = runs(local)
    started = await press(ada, newer, "Start")

    assert "The expected cost is now $" in dearer.text
    assert "more than an hour old. Nothing in it has changed." in late.text
    assert "These settings have changed: rank." in other.text
    assert "The dataset is now annika@2; it was annika@1." in newer.text
    assert "Open findings in annika@2" in newer.text
    assert "trigger word" in newer.text
    assert {next(iter(one.buttons)) for one in (dearer, late, other, newer)} == {"Start"}
    assert {one.id for one in (dearer, late, other, newer, started)} == {plan.id}
    assert (before, runs(local)) == ([], ["mine"])


def show_another_rank(local: LocalInstallation) -> None:
    """Change the plan that was shown, as if an update of the bot had then changed a default."""
    draft = draft_of(local)
    (expert,) = draft.shown.experts
    settings = expert.settings.model_copy(update={"rank": expert.settings.rank + 1})
    experts = (expert.model_copy(update={"settings": settings}),)
    shown = draft.shown.model_copy(update={"experts": experts})
    Drafts(local.runtime.store).keep(draft.model_copy(update={"shown": shown}))


async def test_only_its_owner_starts_changes_or_dismisses_a_plan(
    ada: Chat, ben: Chat, plan: Message, bot: RunningBot, local: LocalInstallation
) -> None:
    shown = draft_of(local)
    buttons = {
        action: PlanButton(action, shown.requester.token, shown.number)
        for action in ("start", "change", "clips", "dismiss")
    }
    copied = await forged(bot, ben, *buttons.values())

    refused = [(await press(ben, copied, label)).text for label in copied.buttons]

    assert len(refused) == len(buttons)
    assert [text for text in refused if REFUSED not in text] == []
    assert draft_of(local) == shown
    assert runs(local) == []
    await press(ada, plan, "Start")
    assert runs(local) == ["mine"]


async def test_a_dismissed_plan_says_so_to_whoever_still_sees_its_buttons(
    ada: Chat, plan: Message, bot: RunningBot, local: LocalInstallation
) -> None:
    shown = draft_of(local)
    start = PlanButton("start", shown.requester.token, shown.number)
    copied = await forged(bot, ada, start)

    dismissed = await press(ada, plan, "Dismiss")
    late = await press(ada, copied, "Start")

    assert "was not started" in dismissed.text
    assert "This plan has expired or was dismissed. Nothing was started." in late.text
    assert "/train" in late.text
    assert runs(local) == []


async def test_wrong_settings_are_answered_with_cause_and_fix_and_lose_nothing(
    ada: Chat, plan: Message, local: LocalInstallation
) -> None:
    shown = draft_of(local)
    wrong = {
        "rank = ": "not valid TOML",
        "rank = 8\nalfa = 4": "Did you mean alpha?",
        "rank = 100000": "rank",
        "[high]\nrank = 8": "high",
        "[hihg]\nrank = 8": "no expert called 'hihg'",
        'name = "Not A Name!"': "name",
    }

    for toml, words in wrong.items():
        answer = await change(ada, plan, toml)
        assert words in answer.text, toml
        assert "What to do" in answer.text
        assert "what you typed is still there" in answer.text
        opened = (await ada.user.press(plan, "Change")).modal
        assert opened is not None
        (box,) = opened.inputs.values()
        assert box["value"] == toml

    assert draft_of(local).model_copy(update={"typed": ""}) == shown
    started = await press(ada, plan, "Start")
    assert "**learning rate 0.1**" in started.text
    assert runs(local) == ["mine"]


async def test_a_plan_outlives_a_restart_of_the_bot(
    copies: Copies, server: SandboxServer, local: LocalInstallation, archive: Path
) -> None:
    async with SandboxUser(server.page_url, user="Ada") as user:
        ada, first = Chat(user), await copies.start()
        plan = await plan_of(ada, archive)
        opened = (await user.press(plan, "Change")).modal
        assert opened is not None
        await first.leave()

        await copies.start()
        lost = await user.reply(await user.submit(opened, {"Settings (TOML)": "rank = 8"}))
        changed = await change(ada, plan, 'name = "mine"\nrank = 8')
        started = await press(ada, changed, "Start")

        assert "nothing was done" in lost.text
        assert "**rank 8**" in started.text
        assert started.id == plan.id
        assert runs(local) == ["mine"]
        await ada.card("mine")
