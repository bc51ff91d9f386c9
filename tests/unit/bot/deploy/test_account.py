"""What Modal's client raises, in words that an operator can act on."""

import modal.exception
import pytest

from bot.deploy.account import asking
from training.errors import BackendError, RequestError


def test_a_machine_without_a_token_is_told_how_to_get_one() -> None:
    with pytest.raises(RequestError, match="in: Token missing\\.") as raised, asking():
        raise modal.exception.AuthError("Token missing. Could not authenticate client.")

    assert "modal setup" in raised.value.fix


def test_a_token_that_may_not_do_something_is_not_taken_for_a_missing_one() -> None:
    with pytest.raises(RequestError, match=r"not allow that .*: No access to billing"), asking():
        raise modal.exception.PermissionDeniedError("No access to billing.")


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
