"""What Modal's client raises, in words that an operator can act on."""

import modal.exception
import pytest

from bot.modal_account import asking
from training.errors import BackendError, RequestError


@pytest.mark.parametrize(
    "error",
    [
        modal.exception.AuthError("Token missing. Could not authenticate client."),
        modal.exception.PermissionDeniedError("Not for you."),
    ],
)
def test_a_machine_without_a_token_is_told_how_to_get_one(error: Exception) -> None:
    with pytest.raises(RequestError) as raised, asking():
        raise error

    assert "modal setup" in raised.value.fix


def test_what_modal_cannot_take_is_repeated() -> None:
    with pytest.raises(RequestError, match="No Modal profile is active"), asking():
        raise modal.exception.InvalidError("No Modal profile is active.")


@pytest.mark.parametrize(
    "error",
    [
        modal.exception.ConnectionError("Could not connect to the Modal server."),
        modal.exception.ServiceError("unavailable"),
    ],
)
def test_a_modal_that_does_not_answer_is_no_fault_of_the_token(error: Exception) -> None:
    with pytest.raises(BackendError, match="does not answer"), asking():
        raise error
