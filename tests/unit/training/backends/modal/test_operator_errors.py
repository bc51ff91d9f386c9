"""Errors of Modal's client, as operators read them."""

import modal.exception
import pytest

from training.backends.modal.errors import as_operator_errors
from training.errors import BackendError, RequestError


def test_a_machine_without_a_token_is_told_how_to_get_one() -> None:
    with pytest.raises(RequestError, match="token: Token missing") as raised, as_operator_errors():
        raise modal.exception.AuthError("Token missing. Could not authenticate client.")

    assert "modal setup" in raised.value.fix


def test_a_lacking_permission_is_not_reported_as_a_missing_token() -> None:
    with pytest.raises(RequestError, match=r"not allow this .*: No access"), as_operator_errors():
        raise modal.exception.PermissionDeniedError("No access to billing.")


def test_a_request_that_modal_rejects_is_quoted() -> None:
    with pytest.raises(RequestError, match="No Modal profile is active"), as_operator_errors():
        raise modal.exception.InvalidError("No Modal profile is active.")


def test_a_spend_limit_is_named_with_where_to_raise_it() -> None:
    error = modal.exception.ResourceExhaustedError("workspace billing cycle spend limit reached")

    with pytest.raises(BackendError, match="spend limit of the") as raised, as_operator_errors():
        raise error

    assert "modal.com/settings/usage" in raised.value.fix


@pytest.mark.parametrize(
    "error",
    [
        modal.exception.ConnectionError("Could not connect to the Modal server."),
        modal.exception.ServiceError("unavailable"),
    ],
)
def test_an_outage_of_modal_is_not_blamed_on_the_token(error: Exception) -> None:
    with pytest.raises(BackendError, match="does not answer"), as_operator_errors():
        raise error
