"""Every setting of `/train` fits into one text."""

from unittest.mock import AsyncMock, create_autospec

import pytest

from bot.discord.answers.answers import Interaction
from bot.discord.commands.completion import Choices
from bot.discord.commands.settings_text import complete_settings, parse_settings
from bot.discord.commands.train import train_command
from bot.service.service import Service
from training.errors import RequestError


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("alpha=8", {"alpha": "8"}),
        ("rank=16 high.rank=8", {"rank": "high=8 low=16"}),
        ("high.rank=8, low.rank=42;seed=7", {"rank": "high=8 low=42", "seed": "7"}),
        ("low.rank=42", {"rank": "low=42"}),
        ("max-frames:9 Blocks_To_Swap=4", {"max_frames": "9", "blocks_to_swap": "4"}),
        ("preset=reference items=clips", {"preset": "reference", "items": "clips"}),
        ("high.flow-shift=12", {"flow_shift": "high=12"}),
        ("lightning-file=owner/a:b.safetensors", {"lightning_file": "owner/a:b.safetensors"}),
    ],
)
def test_every_setting_can_be_given_for_all_experts_or_one(
    text: str, settings: dict[str, str]
) -> None:
    found = parse_settings(text, ["high", "low"])

    assert found == settings


@pytest.mark.parametrize(
    ("text", "cause", "fix"),
    [
        ("alfa=8", "no setting called 'alfa'", "Did you mean alpha?"),
        ("colour=red", "no setting called 'colour'", "learning-rate"),
        ("rank", "'rank' in settings is not a key=value pair", "rank=16"),
        ("rank=", "'rank=' in settings is not a key=value pair", "rank=16"),
        ("rank=4 rank=8", "contains rank twice", "Leave one out"),
        ("low.rank=4 low.rank=8", "contains low.rank twice", "Leave one out"),
    ],
)
def test_an_unclear_setting_is_refused_with_a_fix(text: str, cause: str, fix: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_settings(text, ["high", "low"])

    assert cause in refusal.value.cause
    assert fix in refusal.value.fix


def test_keys_are_completed_with_what_they_mean() -> None:
    found = complete_settings("rank=16 high.al")

    assert list(found) == ["rank=16 high.alpha="]
    assert "alpha; by default" in found["rank=16 high.alpha="]


def test_settings_with_few_values_are_completed() -> None:
    assert list(complete_settings("optimizer=adamw")) == ["optimizer=adamw8bit", "optimizer=adamw"]
    assert list(complete_settings("rank=16 fp8=")) == ["rank=16 fp8=yes", "rank=16 fp8=no"]
    assert list(complete_settings("preset=")) == ["preset=guide", "preset=reference"]
    assert list(complete_settings("items=cl")) == ["items=clips"]
    assert complete_settings("seed=") == {}


def test_train_leaves_room_for_more_options() -> None:
    async def complete(_interaction: Interaction, _typed: str) -> Choices:
        return []

    command = train_command(create_autospec(Service), AsyncMock(), complete, complete)

    assert len(command.parameters) <= 14


def test_all_keys_fit_one_list_of_suggestions() -> None:
    assert 10 < len(complete_settings("")) <= 25
