"""Claims in a `modal.Dict`: whoever creates the key first has the claim."""

import uuid

from training.backends.modal.dict_port import SharedDict


class ModalClaims:
    """One key a claim; it vanishes after 7 days in which nobody asked for it again."""

    def __init__(self, entries: SharedDict) -> None:
        self._entries = entries

    def claim(self, name: str) -> bool:
        """Return True to exactly one of all who ask for `name`.

        Raises:
            OSError: The claims cannot be reached.
        """
        key, mark = f"claim/{name}", uuid.uuid4().hex
        # A first try whose answer was lost on the way may have created the key.
        return self._entries.put(key, mark, skip_if_exists=True) or self._entries.get(key) == mark
