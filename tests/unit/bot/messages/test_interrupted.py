"""What is said to the user of a command that a restart cut off."""

import pytest

from bot.messages.interrupted import interrupted


@pytest.mark.parametrize("command", ["runs", "models", "dataset show", "download", "epochs:a:0"])
def test_what_only_reads_has_changed_nothing(command: str) -> None:
    error = interrupted(command)

    assert error.cause.endswith("Nothing was changed.")
    assert error.fix == "Try again."


@pytest.mark.parametrize(
    ("command", "look"),
    [
        ("train", "/runs"),
        ("cancel", "/runs"),
        ("resume:annika", "/runs"),
        ("dataset add", "/dataset list"),
        ("Use as dataset", "/dataset list"),
        ("ds:remove:annika:12345678", "/dataset list"),
        ("checkpoint remove", "/checkpoint list"),
        ("settings", "/settings"),
    ],
)
def test_what_changes_something_is_to_be_looked_up(command: str, look: str) -> None:
    error = interrupted(command)

    assert "Nothing was changed" not in error.cause
    assert f"Check with {look} whether it succeeded" in error.fix


def test_what_can_be_repeated_is_to_be_sent_again() -> None:
    error = interrupted("revoke-links:annika")

    assert "Nothing was changed" not in error.cause
    assert error.fix.startswith("Try again;")
