"""Lists and shows runs, without importing the code that starts them."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import ValidationError

from training import store_keys
from training.errors import NotFoundError
from training.files.parallel import each
from training.pipeline.outlook import gpu_place, starts_at
from training.pipeline.run_view import RunSummary, RunView, view_of
from training.pipeline.runtime import Runtime
from training.ports import EVERY_RUN, EndedRun, RunFilter, RunIndex
from training.registry.trash import Trash
from training.runs.event_log import DamagedRunError
from training.runs.state import Run, RunStatus
from training.store_keys import RunKeys

logger = logging.getLogger(__name__)
# When a page of the list is built, finished runs that are missing from the index are read at
# once if there are at most this many; if there are more, they are left to the background thread.
_MOST_UNREAD = 64
_BATCH = 20  # runs that the background thread reads between two pauses
_TRANSACTION = 1000  # runs that are added to the index in one transaction
# The state that a page shows for an open run is at most this old.
_FRESH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of a listing.

    Attributes:
        total: Number of all runs that match.
        runs: The page's part of these runs, newest first.
        skipped: Number of newer runs that match, on the pages before.
        unread: How many finished runs are not in the index yet, and so not in the listing.
        obstacle: Why these unread runs cannot be added to the index; None if they can.
    """

    total: int
    runs: Sequence[RunSummary]
    skipped: int = 0
    unread: int = 0
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class _Query:
    """Which runs to list: at most `most` of those that match, after the `skip` newest ones."""

    most: int | None = None
    containing: str = ""
    only: RunFilter = EVERY_RUN
    skip: int = 0

    @property
    def end(self) -> int | None:
        return None if self.most is None else self.skip + self.most

    def start(self, total: int) -> int:
        """Return how many of `total` runs to skip: `skip`, but never a run of the last page."""
        if self.most is None:
            return 0
        return min(self.skip, max(total - 1, 0) // self.most * self.most)


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of a guild's runs; for each open run, also the time at which it was created."""

    open: Mapping[str, str]
    ended: frozenset[str]
    unread: Sequence[str]
    found_at: float = field(default_factory=time.monotonic)

    def ended_with(self, text: str) -> frozenset[str]:
        """Return the finished runs in the index whose names contain `text`."""
        listed = self.ended.difference(self.unread)
        return frozenset(name for name in listed if text in name) if text else listed


class RunList:
    """The runs of all guilds; summaries of finished runs come from the index."""

    def __init__(self, runtime: Runtime, index: RunIndex) -> None:
        self._runtime, self._index = runtime, index
        self._trash = Trash(runtime.store, runtime.clock)
        self._created: dict[RunKeys, str] = {}
        self._seen: dict[RunKeys, tuple[float, RunSummary]] = {}  # open runs, as last read
        self._views: dict[RunKeys, RunView] = {}  # the views of the same runs
        self._known_names: dict[str, _Names] = {}
        self._obstacle: str | None = None

    def find(self, guild: str, name: str) -> Run:
        """Return a run.

        Raises:
            NotFoundError: The guild has no such run, or it was removed.
        """
        run = self._runtime.log(guild, name).load()
        if run.status.is_final:  # only finished runs can be removed
            self.require_not_removed(guild, name)
        return run

    def require_not_removed(self, guild: str, name: str) -> None:
        """Raise `NotFoundError` if a run is in the trash."""
        self._trash.refuse_removed(guild, "runs", [name], name=name)

    def view(self, guild: str, name: str) -> RunView:
        """Return a run as users see it; raise `NotFoundError` if `find` does."""
        return self._look_at(RunKeys(guild, name), self.find(guild, name))

    def names(self, guild: str) -> list[str]:
        names = self._names(guild)
        return sorted([*names.open, *names.ended])

    def summaries(self, guild: str, only: RunFilter = EVERY_RUN) -> list[RunSummary]:
        """Return the runs of a guild, newest first, reading whatever the index lacks."""

        def read(keys: Sequence[RunKeys]) -> list[RunSummary]:
            return each(self._summary, keys)

        return list(self._page(guild, self._names(guild), _Query(only=only), read).runs)

    def page(self, guild: str, most: int, *, only: RunFilter = EVERY_RUN, skip: int = 0) -> RunPage:
        """Return up to `most` runs after the `skip` newest; if there are none, the last page."""
        query = _Query(most, only=only, skip=skip)
        return self._page(guild, self._names(guild), query, self._live)

    def glance(self, guild: str, most: int, *, containing: str, age_seconds: float) -> RunPage:
        """Return a page quickly, from data that was read before.

        The list of names may be up to `age_seconds` old. An open run has the state that was last
        read, or "" if it has not been read yet.
        """
        names = self._known_names.get(guild)
        if names is None or time.monotonic() - names.found_at > age_seconds:
            names = self._names(guild)
        return self._page(guild, names, _Query(most, containing), self._last_seen)

    def forget_names(self, guild: str) -> None:
        """Read the names of runs again for the next `glance`, because they have changed."""
        self._known_names.pop(guild, None)

    def live_summary(self, guild: str, name: str) -> RunSummary:
        """Return the summary of an open run; the summary may be a few moments old."""
        return self._live([RunKeys(guild, name)])[0]

    def read_ended(self, guild: str, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Add missing runs to the index, until stopped or until the index cannot be written.

        This uses one thread, which pauses after each batch for as long as the batch took, because
        anything that holds Python's global interpreter lock delays the bot's answers.
        """
        unread, read = self._names(guild).unread, list[RunSummary]()
        for start in range(0, len(unread), _BATCH):
            if is_stopped():
                break
            began_at = time.monotonic()
            read += [self._ended(guild, name) for name in unread[start : start + _BATCH]]
            # The first batch is added at once, to notice early if the index cannot be written.
            if start == 0 or len(read) >= _TRANSACTION:
                if not self._put(guild, read):
                    return
                read.clear()
            time.sleep(time.monotonic() - began_at)
        self._put(guild, read)

    def rebuild_index(self) -> None:
        """Clear the index; the next listing rebuilds it from the run folders."""
        self._index.clear()

    def _page(
        self,
        guild: str,
        names: _Names,
        query: _Query,
        live: Callable[[Sequence[RunKeys]], list[RunSummary]],
    ) -> RunPage:
        def read(opened: Iterable[str]) -> dict[str, RunSummary]:
            shown = list(opened)
            return dict(zip(shown, live([RunKeys(guild, name) for name in shown]), strict=True))

        total, ended, left = self._ended_of(guild, names, query)
        opened = {name: at for name, at in names.open.items() if query.containing in name}
        states: dict[str, RunSummary] = {}
        if query.only != EVERY_RUN:
            states = {name: run for name, run in read(opened).items() if _fits(run, query.only)}
            opened = {name: opened[name] for name in states}
        total += len(opened)
        listed = [
            *((one.created_at, one.name, one) for one in ended),
            *((at, name, states.get(name)) for name, at in opened.items()),
        ]
        start = query.start(total)
        end = None if query.most is None else start + query.most
        page = sorted(listed, key=lambda one: one[:2], reverse=True)[start:end]
        states |= read(name for _, name, one in page if one is None)
        runs = [one or states[name] for _, name, one in page]
        return RunPage(total, runs, start, left, self._obstacle if left else None)

    def _ended_of(
        self, guild: str, names: _Names, query: _Query
    ) -> tuple[int, list[RunSummary], int]:
        """Return how many finished runs match, the newest ones, and how many cannot be listed."""
        is_read = query.most is None or len(names.unread) <= _MOST_UNREAD
        unread = names.unread if is_read else ()
        indexed = names.ended_with(query.containing)
        if query.only != EVERY_RUN:
            indexed &= self._index.names(guild, query.only)
        added = [name for name in unread if query.containing in name]
        found = self._newest_ended(guild, indexed, added, query.end)
        ended = [run for run in found if _fits(run, query.only)]
        total = len(indexed) + len({run.name for run in ended}.intersection(added))
        return total, ended, len(names.unread) - len(unread)

    def _newest_ended(
        self, guild: str, indexed: frozenset[str], unread: Sequence[str], most: int | None
    ) -> list[RunSummary]:
        """Return the newest runs in the index, and all runs whose entry is missing or damaged."""
        found = self._index.newest(guild, most, indexed.__contains__) if indexed else []
        known = {name: _summary_in(data, name) for name, data in found}
        damaged = [name for name, summary in known.items() if summary is None]
        # If the index cannot be written, still list the runs that were just read.
        read = each(lambda name: self._ended(guild, name), [*unread, *damaged])
        self._put(guild, read)
        return [*filter(None, known.values()), *read]

    def _names(self, guild: str) -> _Names:
        store = self._runtime.store
        removed = self._trash.items(guild, "runs")
        everyone = frozenset(store.names(store_keys.runs(guild))) - removed
        # A run's marker is created before its spec, so only a marked run may lack a spec.
        keys = map(RunKeys.of_marker, store.names(store_keys.OPEN_RUNS))
        marked = {found.name for found in keys if found.guild == guild}
        opened = [RunKeys(guild, name) for name in marked & everyone]
        created = zip(opened, each(self._created_at, opened), strict=True)
        ended = everyone - marked
        indexed = self._index.names(guild)
        names = _Names(
            {key.name: at for key, at in created if at is not None},
            ended,
            sorted(ended - indexed),
        )
        self._forget_ended(guild, names.open)
        self._known_names[guild] = names
        return names

    def _forget_ended(self, guild: str, still_open: Iterable[str]) -> None:
        kept = set(still_open)
        for known in (self._created, self._seen, self._views):
            # Loop over a copy, because other threads add runs meanwhile.
            for key in list(known):
                if key.guild == guild and key.name not in kept:
                    known.pop(key, None)

    def _created_at(self, key: RunKeys) -> str | None:
        """Return when an open run was created; None if it has no spec yet, "" if it is damaged."""
        known = self._created.get(key)
        if known is not None:
            return known
        try:
            created_at = self._runtime.log(key.guild, key.name).spec().created_at
        except NotFoundError:
            return None
        except DamagedRunError:
            return ""
        return self._created.setdefault(key, created_at.isoformat(timespec="microseconds"))

    def _look_at(self, key: RunKeys, run: Run) -> RunView:
        view = view_of(self._runtime, run)
        if run.status.is_final:
            self._forget_end(key)
            return view
        self._views[key] = view
        view = replace(view, starts_at=self._starts_at(view))
        self._seen[key] = (time.monotonic(), view.summary(self._runtime.clock()))
        return view

    def _starts_at(self, view: RunView) -> datetime | None:
        """Return the minute in which a waiting run should get a GPU; None if that is unknown."""
        if gpu_place(view) is None:
            return None
        slots = self._runtime.backend.gpu_line().slots
        # Pass a copy, because other threads add runs meanwhile.
        found = starts_at(view, list(self._views.values()), slots, self._runtime.clock())
        return None if found is None else found.replace(second=0, microsecond=0)

    def _live(self, keys: Sequence[RunKeys]) -> list[RunSummary]:
        """Return summaries of open runs; a summary may be a few moments old."""
        fresh = {key: found for key in keys if (found := self._fresh(key)) is not None}
        stale = [key for key in keys if key not in fresh]
        known = fresh | dict(zip(stale, each(self._summary, stale), strict=True))
        return [known[key] for key in keys]

    def _fresh(self, key: RunKeys) -> RunSummary | None:
        seen_at, summary = self._seen.get(key, (float("-inf"), None))
        return summary if time.monotonic() - seen_at < _FRESH_SECONDS else None

    def _forget_end(self, key: RunKeys) -> None:
        """Read the names of runs again for the next `glance` if it would list this run as open."""
        known = self._known_names.get(key.guild)
        if known is not None and key.name in known.open:
            self.forget_names(key.guild)

    def _last_seen(self, keys: Sequence[RunKeys]) -> list[RunSummary]:
        seen = [self._seen.get(key) for key in keys]
        return [
            RunSummary(name=key.name, state="") if one is None else one[1]
            for key, one in zip(keys, seen, strict=True)
        ]

    def _ended(self, guild: str, name: str) -> RunSummary:
        """Return the summary of a run that has probably ended, because it is not marked as open."""
        return self._stored_summary(guild, name) or self._summary(RunKeys(guild, name))

    def _put(self, guild: str, read: Sequence[RunSummary]) -> bool:
        """Add runs to the index, except runs that turn out to be open.

        Return False if the index cannot be written; listings then say why.
        """
        ended = [
            EndedRun(
                name=one.name,
                created_at=one.created_at,
                summary=one.model_dump_json().encode(),
                model=one.model,
                state=one.state,
                requested_by=one.requested_by,
            )
            for one in read
            if one.state in _FINAL
        ]
        if not ended:
            return True
        try:
            self._index.put(guild, ended)
        except OSError as error:
            if self._obstacle is None:
                logger.info("the index of finished runs cannot be written: %s", error)
            self._obstacle = error.strerror or str(error)
        else:
            self._obstacle = None
        return self._obstacle is None

    def _summary(self, key: RunKeys) -> RunSummary:
        try:
            run = self._runtime.log(key.guild, key.name).load()
            return self._look_at(key, run).summary(self._runtime.clock())
        except (DamagedRunError, NotFoundError) as error:
            return RunSummary(name=key.name, state="damaged", error=error.cause)

    def _stored_summary(self, guild: str, name: str) -> RunSummary | None:
        """Return the summary that was stored when the run ended; None if there is none."""
        try:
            return _summary_in(self._runtime.store.read(RunKeys(guild, name).ended), name)
        except FileNotFoundError:
            return None


_FINAL = frozenset(status.value for status in RunStatus if status.is_final)


def _summary_in(data: bytes | None, name: str) -> RunSummary | None:
    """Return the summary in `data`.

    Return None if there is no data, if it cannot be parsed, if it is about another run, or if an
    earlier version stored it without recording who started the run.
    """
    try:
        found = None if data is None else RunSummary.model_validate_json(data)
    except ValidationError:
        return None
    if found is None or "requested_by" not in found.model_fields_set:
        return None
    return found if found.name == name else None


def _fits(run: RunSummary, only: RunFilter) -> bool:
    asked = (
        (only.model, run.model),
        (only.state, run.state),
        (only.requested_by, run.requested_by),
    )
    return all(wanted in (None, value) for wanted, value in asked)
