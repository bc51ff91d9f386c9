"""Revokes the links to a run's files."""

import json
import time

from training.errors import RequestError
from training.ports import Store
from training.store_keys import RunKeys


class Revocations:
    """Counts how often the links to a run were revoked.

    Each link contains the count at the time it was made, and is valid until the count changes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def count(self, guild: str, run: str) -> int:
        """Return how often the links to a run were revoked.

        Raises:
            RequestError: The record of revocations is damaged. Then no link is accepted, because a
                revoked link must never work again.
        """
        try:
            return int(json.loads(self._store.read(RunKeys(guild, run).links))["revoked"])
        except FileNotFoundError:
            return 0
        except (ValueError, TypeError, LookupError) as error:
            raise RequestError(
                f"The record of revoked links to {run} cannot be read, so none of its links work.",
                "The bot's operator can revoke all of them: "
                f"lorabot run revoke-links {run} --server {guild}",
            ) from error

    def revoke(self, guild: str, run: str) -> None:
        """Revoke all existing links to a run; other processes notice within seconds."""
        try:
            number = self.count(guild, run) + 1
        except RequestError:
            number = int(time.time())  # higher than any earlier count
        self._store.write(RunKeys(guild, run).links, json.dumps({"revoked": number}).encode())
