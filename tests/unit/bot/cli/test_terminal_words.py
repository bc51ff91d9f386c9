"""What chat says to type, said on a terminal."""

import pytest

from bot.cli.output import for_terminal


@pytest.mark.parametrize(
    ("chat", "terminal"),
    [
        ("See /runs for the names.", "See lorabot runs for the names."),
        ("Add clips with /dataset add, or stop.", "Add clips with lorabot add, or stop."),
        ("Go on with /resume; or /train.", "Go on with lorabot resume; or lorabot train."),
        (
            "Not used, with /train dataset-config:from-zip.",
            "Not used, with lorabot train --dataset-config from-zip.",
        ),
    ],
)
def test_a_command_is_named_as_it_is_typed_on_a_terminal(chat: str, terminal: str) -> None:
    assert for_terminal(chat) == terminal


@pytest.mark.parametrize(
    "text",
    [
        "/home/me/train/a.zip cannot be read.",
        "Open /train/x, or http://127.0.0.1/download/abc.",
        "Ask again with /dataset remove name:annika.",
        "images/runs/a.png",
        "/training is no command.",
    ],
)
def test_paths_addresses_and_what_only_chat_can_do_stay_as_they_are(text: str) -> None:
    assert for_terminal(text) == text


def test_the_options_that_name_the_installation_come_with_it() -> None:
    said = for_terminal("See /runs.", " --backend modal --app team")

    assert said == "See lorabot runs --backend modal --app team."
