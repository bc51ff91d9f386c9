"""Claims in a `modal.Dict`: the first to create the key owns the claim."""

import uuid

from training.backends.modal.dict_port import SharedDict


class ModalClaims:
    """One key per claim; it expires after 7 days in which nobody claims it again."""

    def __init__(self, entries: SharedDict) -> None:
        self._entries = entries

    def claim(self, name: str) -> bool:
        """Return True to exactly one caller for each `name`; `OSError` if Modal is unreachable."""
        key, mark = f"claim/{name}", uuid.uuid4().hex
        # A first attempt may have created the key and lost its answer.
        return self._entries.put(key, mark, skip_if_exists=True) or self._entries.get(key) == mark
