"""Lists of runs: the newest first, from the index, without reading more than is shown."""

import errno
import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from storage.local.run_index import SqliteRunIndex
from storage.local.store import FolderStore
from tests.many_runs import Crowd
from training.errors import NotFoundError
from training.operations.run_list import RunList
from training.ports import EndedRun, RunFilter
from training.registry.trash import Trash

GUILD, CHANNEL = "1", "5"


class NotedIndex(SqliteRunIndex):
    """Notes how many runs each transaction adds."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.added: list[int] = []

    def put(self, guild: str, runs: Iterable[EndedRun]) -> None:
        known = list(runs)
        self.added.append(len(known))
        super().put(guild, known)


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    return Crowd(tmp_path, GUILD, owner="7")


@pytest.fixture
def index(tmp_path: Path) -> NotedIndex:
    return NotedIndex(tmp_path / "index.sqlite")


@pytest.fixture
def runs(tmp_path: Path, crowd: Crowd, index: NotedIndex) -> RunList:
    return RunList(LocalInstallation(Settings(home=tmp_path)).runtime, index)


def test_all_runs_are_listed_newest_first_and_indexed_at_once(
    crowd: Crowd, runs: RunList, index: NotedIndex
) -> None:
    for number in range(100):
        crowd.add_ended(number, CHANNEL)
    crowd.add_live(0, CHANNEL)

    listed = runs.summaries(GUILD)
    again = runs.summaries(GUILD)

    assert [run.name for run in listed] == ["live-0", *(f"ended-{n}" for n in range(99, -1, -1))]
    assert [run.state for run in listed] == ["running", *["succeeded"] * 100]
    assert again == listed
    assert index.added == [100]


def test_runs_of_the_same_second_are_listed_in_order_of_their_creation(
    crowd: Crowd, runs: RunList
) -> None:
    for number in (9, 10, 11):
        crowd.add_ended(number, CHANNEL, timedelta(milliseconds=1))

    named = [[run.name for run in runs.summaries(GUILD)] for _ in range(2)]

    assert named == [["ended-11", "ended-10", "ended-9"]] * 2


def test_runs_are_filtered_by_state_model_and_who_started_them(
    crowd: Crowd, runs: RunList, tmp_path: Path
) -> None:
    for number in range(3):
        crowd.add_ended(number, CHANNEL)
    runs.read_ended(GUILD)
    Crowd(tmp_path, GUILD, owner="8").add_ended(3, CHANNEL)
    crowd.add_live(0, CHANNEL)
    his, running = RunFilter(requested_by="8"), RunFilter(state="running")

    def found(only: RunFilter) -> tuple[int, list[str]]:
        page = runs.page(GUILD, 2, only=only)
        return page.total, [run.name for run in page.runs]

    first = found(his), found(RunFilter(requested_by="7", state="succeeded")), found(running)
    again = found(his)

    assert first == ((1, ["ended-3"]), (3, ["ended-2", "ended-1"]), (1, ["live-0"]))
    assert again == first[0]
    assert found(RunFilter(model="wan21-t2v-1-3b"))[0] == 5
    assert found(RunFilter(model="wan21-t2v-14b")) == (0, [])
    assert [run.name for run in runs.summaries(GUILD, his)] == ["ended-3"]


def test_pages_follow_each_other_and_the_last_one_is_shown_for_any_later_one(
    crowd: Crowd, runs: RunList
) -> None:
    for number in range(5):
        crowd.add_ended(number, CHANNEL)

    pages = [runs.page(GUILD, 2, skip=skip) for skip in (0, 2, 4, 40)]

    assert [[run.name for run in page.runs] for page in pages] == [
        ["ended-4", "ended-3"],
        ["ended-2", "ended-1"],
        ["ended-0"],
        ["ended-0"],
    ]
    assert [page.skipped for page in pages] == [0, 2, 4, 4]


def test_a_summary_of_an_earlier_version_is_read_again(
    crowd: Crowd, runs: RunList, tmp_path: Path
) -> None:
    stored = tmp_path / crowd.add_ended(1, CHANNEL).keys.ended
    earlier = json.loads(stored.read_bytes())
    del earlier["requested_by"]
    stored.write_text(json.dumps(earlier))

    page = runs.page(GUILD, 2, only=RunFilter(requested_by="7"))

    assert [run.name for run in page.runs] == ["ended-1"]


def test_a_run_that_is_not_there_is_answered_with_the_nearest_names(
    crowd: Crowd, runs: RunList
) -> None:
    for number in range(3):
        crowd.add_ended(number, CHANNEL)

    with pytest.raises(NotFoundError) as near:
        runs.find(GUILD, "endet-2")
    with pytest.raises(NotFoundError) as far:
        runs.find(GUILD, "nobody")

    assert near.value.fix.startswith("Did you mean ended-2")
    assert far.value.fix == "Look up the name in the list of runs."


def test_a_page_shows_what_the_index_has_and_says_what_it_lacks(
    crowd: Crowd, runs: RunList, index: NotedIndex
) -> None:
    for number in range(3):
        crowd.add_ended(number, CHANNEL)
    runs.summaries(GUILD)
    for number in range(3, 103):
        crowd.add_ended(number, CHANNEL)
    crowd.add_live(0, CHANNEL)

    cold = runs.page(GUILD, 3)
    runs.read_ended(GUILD)
    warm = runs.page(GUILD, 3)

    assert (cold.total, cold.unread) == (4, 100)
    assert [run.name for run in cold.runs] == ["live-0", "ended-2", "ended-1"]
    assert (warm.total, warm.unread) == (104, 0)
    assert [run.name for run in warm.runs] == ["live-0", "ended-102", "ended-101"]
    assert index.added == [3, 20, 80]


def test_a_page_says_why_old_runs_stay_unread(
    crowd: Crowd, runs: RunList, index: NotedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        crowd.add_ended(number, CHANNEL)

    def full(_guild: str, _runs: Iterable[EndedRun]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(index, "put", full)
        runs.read_ended(GUILD)
        refused = runs.page(GUILD, 3)
    runs.read_ended(GUILD)
    again = runs.page(GUILD, 3)

    assert (refused.unread, refused.obstacle) == (100, "No space left on device")
    assert (again.unread, again.obstacle) == (0, None)


def test_a_run_that_has_just_ended_is_not_missing(crowd: Crowd, runs: RunList) -> None:
    spec = crowd.add_live(0, CHANNEL)
    before = runs.page(GUILD, 10)

    crowd.end(spec)
    after = runs.page(GUILD, 10)

    assert [run.state for run in (*before.runs, *after.runs)] == ["running", "succeeded"]


def test_a_glance_reads_no_run_and_shows_states_as_last_seen(crowd: Crowd, runs: RunList) -> None:
    crowd.add_live(0, CHANNEL)
    crowd.add_live(1, CHANNEL)
    crowd.add_ended(1, CHANNEL)
    runs.read_ended(GUILD)
    runs.view(GUILD, "live-1")

    found = runs.glance(GUILD, 25, containing="-1", age_seconds=0.0)
    other = runs.glance(GUILD, 25, containing="live-0", age_seconds=60.0)

    assert {run.name: run.state for run in found.runs} == {
        "live-1": "running",
        "ended-1": "succeeded",
    }
    assert [(run.name, run.state) for run in other.runs] == [("live-0", "")]


def test_removed_runs_are_left_out_until_they_are_restored(
    crowd: Crowd, runs: RunList, tmp_path: Path
) -> None:
    for number in range(3):
        crowd.add_ended(number, CHANNEL)
    trash = Trash(FolderStore(tmp_path))
    unread = trash.put(GUILD, "runs", ["ended-0"], by="7")
    runs.summaries(GUILD)
    indexed = trash.put(GUILD, "runs", ["ended-1"], by="7")

    without = runs.page(GUILD, 10), runs.glance(GUILD, 10, containing="ended", age_seconds=0.0)
    for removal in (unread, indexed):
        trash.take_out(removal, removal.items)
    restored = runs.page(GUILD, 10)

    for page in without:
        assert (page.total, [run.name for run in page.runs]) == (1, ["ended-2"])
    assert (restored.total, [run.name for run in restored.runs]) == (
        3,
        ["ended-2", "ended-1", "ended-0"],
    )


def test_runs_are_listed_without_an_index_that_can_be_written(
    crowd: Crowd, runs: RunList, index: NotedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        crowd.add_ended(number, CHANNEL)

    def keep_nothing(guild: str, runs: object) -> None:
        """As an index that cannot be written does."""

    monkeypatch.setattr(index, "put", keep_nothing)

    assert len(runs.summaries(GUILD)) == 100


def test_a_damaged_entry_and_a_damaged_run_are_listed(
    crowd: Crowd, runs: RunList, index: NotedIndex, tmp_path: Path
) -> None:
    first, second = crowd.add_ended(1, CHANNEL), crowd.add_ended(2, CHANNEL)
    index.put(GUILD, [EndedRun(first.name, "2026", b"not a summary")])
    (tmp_path / second.keys.ended).unlink()
    (tmp_path / second.keys.spec).write_bytes(b"garbage")

    listed = {run.name: run.state for run in runs.summaries(GUILD)}

    assert listed == {"ended-1": "succeeded", "ended-2": "damaged"}
    assert b"not a summary" not in dict(index.newest(GUILD, None, lambda _name: True)).values()


def test_reading_stops_when_asked(crowd: Crowd, runs: RunList, index: NotedIndex) -> None:
    for number in range(10):
        crowd.add_ended(number, CHANNEL)

    runs.read_ended(GUILD, lambda: True)

    assert index.added == []
