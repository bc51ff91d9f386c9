"""The plan that `/train` answers with, and its buttons and dialog: nothing starts before Start."""

from pathlib import Path

from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message
from tests.wire.bot.chat import Chat
from training.store_keys import drafts

T2V, I2V = "wan21-t2v-1-3b", "wan21-i2v-720p"
UNUSUAL = {"epochs": "1", "learning_rate": "0.1", "name": "mine"}


async def plan_of(chat: Chat, archive: Path, model: str = T2V, **options: str) -> Message:
    """Add a dataset and ask for a run with an unusual setting."""
    await chat.ask("dataset add", name="annika", zip=archive)
    return await chat.ask("train", model=model, dataset="annika", **UNUSUAL, **options)


async def press(chat: Chat, message: Message, button: str) -> Message:
    """Press a button that replaces its message, and return the message."""
    pressed = await chat.user.press(message, button)
    assert pressed.status != "failed"
    return await chat.user.reply(pressed)


def runs(local: LocalInstallation) -> list[str]:
    return [run.name for guild in local.guilds() for run in local.runs.summaries(guild)]


async def test_a_plan_shows_what_is_unusual_and_starts_the_run(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    asked = await plan_of(ada, archive)

    assert "Plan: mine" in asked.text
    assert "will probably diverge" in asked.text
    assert "**learning rate 0.1**" in asked.text
    assert asked.ephemeral
    assert list(asked.buttons) == ["Start", "Change", "Dismiss"]
    assert runs(local) == []

    answer = await press(ada, asked, "Start")

    assert answer.id == asked.id
    assert list(answer.buttons) == []
    assert str(answer.embeds[0]["title"]) == "mine"
    await ada.card("mine", lambda m: "succeeded" in m.text or "failed" in m.text)
    assert runs(local) == ["mine"]


async def test_a_dialog_changes_the_plan_in_place_and_keeps_what_was_refused(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    asked = await plan_of(ada, archive)

    opened = (await ada.user.press(asked, "Change")).modal
    assert opened is not None
    (box,) = opened.inputs.values()
    assert "learning-rate = 0.1" in box["value"]
    refused = await ada.user.reply(
        await ada.user.submit(opened, {"Settings (TOML)": "rank = 8\nalfa = 4"})
    )
    assert "Did you mean alpha?" in refused.text
    assert "what you typed is still there" in refused.text

    again = (await ada.user.press(asked, "Change")).modal
    assert again is not None
    (box,) = again.inputs.values()
    assert box["value"] == "rank = 8\nalfa = 4"
    changed = await ada.user.reply(
        await ada.user.submit(again, {"Settings (TOML)": "rank = 8\nepochs = 900"})
    )

    assert changed.id == asked.id
    assert "**rank 8**" in changed.text
    assert "900 epochs" in changed.text
    assert runs(local) == []


async def test_a_dismissed_plan_cannot_be_started(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    asked = await plan_of(ada, archive)

    dismissed = await press(ada, asked, "Dismiss")

    assert "was not started" in dismissed.text
    assert list(dismissed.buttons) == []
    (guild,) = local.guilds()
    assert local.runtime.store.names(drafts(guild)) == []
    assert runs(local) == []


async def test_the_plan_of_an_i2v_run_can_leave_out_single_frames(ada: Chat, archive: Path) -> None:
    asked = await plan_of(ada, archive, I2V)

    assert list(asked.buttons) == ["Start", "Change", "Train on clips only", "Dismiss"]
    clips = await press(ada, asked, "Train on clips only")

    assert "**Limited to clips (no single frames).**" in clips.text
    assert list(clips.buttons) == ["Start", "Change", "Dismiss"]


async def test_the_train_button_of_a_dataset_asks_for_the_model_and_shows_the_plan(
    ada: Chat, ben: Chat, archive: Path, local: LocalInstallation
) -> None:
    added = await ada.ask("dataset add", name="annika", zip=archive)

    menu = await ben.user.reply(await ben.user.press(added, "Train"))
    assert menu.ephemeral
    assert "Train on annika@1" in menu.text
    plan = await ben.user.reply(await ben.user.select(menu, "train-model:annika@1", [I2V]))

    assert plan.id == menu.id
    assert f"Plan: annika-{I2V}" in plan.text
    assert list(plan.buttons) == ["Start", "Change", "Train on clips only", "Dismiss"]
    assert runs(local) == []


async def test_train_again_shows_the_plan_of_an_ended_run(
    ada: Chat, ben: Chat, archive: Path, local: LocalInstallation
) -> None:
    await press(ada, await plan_of(ada, archive), "Start")
    card = await ada.card("mine", lambda m: "Train again" in m.buttons)

    plan = await ben.user.reply(await ben.user.press(card, "Train again"))

    assert plan.ephemeral
    assert f"Plan: annika-{T2V}" in plan.text
    assert "**learning rate 0.1**" in plan.text
    assert runs(local) == ["mine"]
    await press(ben, plan, "Start")
    assert set(runs(local)) == {"mine", f"annika-{T2V}"}
