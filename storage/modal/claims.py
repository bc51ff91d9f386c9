"""Claims in a `modal.Dict`: the first to create the key owns the claim."""

import uuid

from training.backends.modal.dict_port import SharedDict

_NOTE = "note/"


class ModalClaims:
    """Keeps one key per claim; a key expires 7 days after the last attempt to claim it."""

    def __init__(self, entries: SharedDict) -> None:
        self._entries = entries

    def claim(self, name: str) -> bool:
        """Return True to one caller for each `name`; raise `OSError` if Modal is unreachable."""
        key, mark = f"claim/{name}", uuid.uuid4().hex
        # If Modal's reply is lost, its client repeats the request and finds the key taken. The mark
        # tells whether this caller took it.
        return self._entries.put(key, mark, skip_if_exists=True) or self._entries.get(key) == mark

    def note(self, name: str, data: bytes) -> None:
        self._entries.put(f"{_NOTE}{name}", data.decode())

    def forget(self, name: str) -> None:
        self._entries.pop(f"{_NOTE}{name}")

    def notes(self) -> list[bytes]:
        items = self._entries.items()
        return [str(value).encode() for key, value in items if key.startswith(_NOTE)]
