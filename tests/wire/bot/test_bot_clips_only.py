"""The button below an I2V run's plan: the same run without single frames."""

from pathlib import Path

from bot.hosting.local import LocalInstallation
from tests.wire.bot.chat import Chat

I2V, T2V = "wan21-i2v-720p", "wan21-t2v-1-3b"


async def test_the_button_of_the_plan_trains_on_clips_instead(
    ada: Chat, archive: Path, local: LocalInstallation
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    plan = await ada.ask("train", model=I2V, dataset="annika", epochs="1", name="mine")

    assert "items=clips leaves them out and saves" in plan.text
    assert list(plan.buttons) == ["Train on clips only"]

    answer = await ada.user.reply(await ada.user.press(plan, "Train on clips only"))

    assert str(answer.embeds[0]["title"]) == "mine-2"
    assert list(answer.buttons) == []
    await ada.card("mine-2", lambda m: "succeeded" in m.text or "failed" in m.text)
    guild = local.guilds()[0]
    first, second = (local.runs.view(guild, name) for name in ("mine", "mine-2"))
    assert first.run.status.is_final
    assert second.spec.items.items == "clips"
    assert second.spec.steps_per_epoch < first.spec.steps_per_epoch
    again = await ada.user.reply(await ada.user.press(plan, "Train on clips only"))
    assert "mine has ended" in again.text
    assert sorted(summary.name for summary in local.runs.summaries(guild)) == ["mine", "mine-2"]


async def test_a_text_to_video_plan_has_no_such_button(ada: Chat, archive: Path) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)

    plan = await ada.ask("train", model=T2V, dataset="annika", epochs="1", name="mine")

    assert list(plan.buttons) == []
