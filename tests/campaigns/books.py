"""Books of what people were promised: each dataset, run, card and end must be there once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.sandbox.server import SandboxServer
from bot.sandbox.world.components import texts_of
from tests.campaigns.people import INTERRUPTED, Tally
from training import store_keys
from training.records import opened
from training.runs.spec import RunSpec


@dataclass(frozen=True)
class Row:
    """How many of a kind there had to be, and how many were lost or doubled."""

    what: str
    count: int
    lost: int
    doubled: int
    note: str = ""

    def wrong(self) -> list[str]:
        is_right = not self.lost and not self.doubled
        found = f"{self.what}: {self.lost} lost, {self.doubled} doubled. {self.note}"
        return [] if is_right else [found]


@dataclass
class Books:
    """What must be there in the end.

    Attributes:
        downloadable: A run whose files people download.
        runs: All runs that must have a card.
        ended: Those of them whose end must be told.
        trained: Datasets on which exactly one run was started.
        perhaps_trained: Datasets on which at most one run was started.
    """

    server: SandboxServer
    home: Path
    guild: str
    downloadable: str
    runs: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])
    datasets: list[str] = field(default_factory=list[str])
    trained: list[str] = field(default_factory=list[str])
    perhaps_trained: list[str] = field(default_factory=list[str])

    def runs_of(self, dataset: str) -> list[RunSpec]:
        """Return the runs on a dataset, read from the home."""
        folder = self.home / store_keys.runs(self.guild)
        found = [
            RunSpec.model_validate_json(opened(path.read_bytes()))
            for path in folder.glob(f"{dataset}*/spec.json")
        ]
        return [spec for spec in found if spec.dataset.name == dataset]

    def has_all_cards(self) -> bool:
        return set(self.runs) <= set(self._cards())

    def are_all_told(self) -> bool:
        return set(self.ended) <= set(self._pings())

    def commands(self, tally: Tally) -> Row:
        """Return the row of the commands; those sent amid trouble may be missed."""
        missed = tally.unacknowledged - tally.while_down
        lost = missed + tally.unanswered
        note = f"{tally.interrupted} cut off and told; {tally.while_down} missed amid trouble"
        asked = tally.answered + tally.refused + tally.interrupted + lost
        twice = self._answered_twice()
        return Row("commands", asked, lost, len(twice), "; ".join([note, *twice]))

    def rows(self) -> list[Row]:
        """Return the rows of everything else."""
        versions = self.home / store_keys.datasets(self.guild)
        stored = {name: len([*(versions / name).glob("[0-9]*")]) for name in self.datasets}
        started = {name: len(self.runs_of(name)) for name in self.trained}
        perhaps = {name: len(self.runs_of(name)) or 1 for name in self.perhaps_trained}
        cards, pings = self._cards(), self._pings()
        return [
            _row("datasets stored", stored),
            _row("runs started", started | perhaps),
            _row("cards", {run: cards[run] for run in self.runs}),
            _row("ends told", {run: pings[run] for run in self.ended}),
        ]

    def _answered_twice(self) -> list[str]:
        """Return the answers to commands with several, not counting notes about a restart."""
        answers = dict[str, list[str]]()
        for message in self._messages():
            about = message.get("interaction_metadata")
            if about is not None and INTERRUPTED not in str(message["embeds"]):
                text = f"{message['content'][:60]} {str(message['embeds'])[:200]}"
                answers.setdefault(about["id"], []).append(text)
        return [f"two answers: {texts}" for texts in answers.values() if len(texts) > 1]

    def _cards(self) -> Counter[str]:
        """Return how many cards each run has."""
        runs = set(self.runs)
        titles = [
            text.removeprefix("### ").partition(":")[0]
            for message in self._messages()
            if message["ephemeral_for"] is None and "interaction_metadata" not in message
            for text in texts_of(message["components"])[:1]
        ]
        return Counter(title for title in titles if title in runs)

    def _pings(self) -> Counter[str]:
        """Return how often the end of each run was told."""
        found, ended = Counter[str](), set(self.ended)
        for message in self._messages():
            if message["mentions"]:
                found.update(ended.intersection(message["content"].split()))
        return found

    def _messages(self) -> Iterable[Mapping[str, Any]]:
        """Return what everybody sees together."""
        world, seen = self.server.world, self.server.messages.seen_by
        found = [message for user in world.users for message in seen(user, set(world.channels))]
        return {message["id"]: message for message in found}.values()


def _row(what: str, found: Mapping[str, int]) -> Row:
    lost = tuple(name for name, count in found.items() if count == 0)
    doubled = tuple(name for name, count in found.items() if count > 1)
    return Row(what, len(found), len(lost), len(doubled), f"{', '.join(lost + doubled)}")


def table(rows: Sequence[Row]) -> list[str]:
    """Return the rows as lines of equal width."""
    cells = [("", "expected", "lost", "doubled", "")]
    cells += [(row.what, str(row.count), str(row.lost), str(row.doubled), row.note) for row in rows]
    return [f"{a:16} {b:>9} {c:>5} {d:>8}  {note}".rstrip() for a, b, c, d, note in cells]
