"""What a `ModalDict` does when Modal does not answer."""

from typing import cast

import modal
import modal.exception
import pytest

from storage.modal.claims import ModalClaims
from storage.modal.shared_dict import ModalDict
from tests.memory_dict import MemoryDict


class FailingDict:
    """Raises what it is given, one for each call, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.asked = 0

    def contains(self, key: str) -> bool:
        self.asked += 1
        if self._errors:
            raise self._errors.pop(0)
        return True


def shared(entries: FailingDict, *, patience_seconds: float) -> ModalDict:
    return ModalDict(cast("modal.Dict", entries), patience_seconds=patience_seconds)


def test_a_call_is_tried_again_while_modal_does_not_answer() -> None:
    entries = FailingDict(modal.exception.ServiceError("away"))

    assert shared(entries, patience_seconds=5).contains("key")
    assert entries.asked == 2


def test_retries_end_with_the_patience() -> None:
    entries = FailingDict(modal.exception.ConnectionError("away"))

    with pytest.raises(ConnectionError, match=r"did not answer.*away"):
        shared(entries, patience_seconds=0).contains("key")

    assert entries.asked == 1


def test_a_refused_token_is_not_tried_again() -> None:
    entries = FailingDict(modal.exception.AuthError("no such token"))

    with pytest.raises(PermissionError, match="modal token new"):
        shared(entries, patience_seconds=5).contains("key")

    assert entries.asked == 1


def test_a_removed_dict_is_named_with_what_to_do() -> None:
    entries = FailingDict(modal.exception.NotFoundError("no Dict"))

    with pytest.raises(FileNotFoundError, match="a restart creates it again"):
        shared(entries, patience_seconds=5).contains("key")


class LossyDict(MemoryDict):
    """Loses the answer to every creation; the client's second try then finds the key there."""

    def put(self, key: str, value: object, *, skip_if_exists: bool = False) -> bool:
        super().put(key, value, skip_if_exists=skip_if_exists)
        return super().put(key, value, skip_if_exists=skip_if_exists)


def test_a_claim_whose_answer_was_lost_is_kept() -> None:
    claims = ModalClaims(LossyDict())

    assert claims.claim("1")
    assert not claims.claim("1")
