"""Volumes: private views, commits, reloads."""

import modal
import pytest

from tests.wire.modal.files_app import Files


def test_others_see_a_commit_only_after_they_reload(files: Files) -> None:
    assert files.kept(("read", "a")) == [None]

    files.once(("write", "a", "first"), ("commit",))

    assert files.kept(("read", "a")) == [None]
    assert files.kept(("reload",), ("read", "a")) == ["first"]


def test_writes_become_visible_at_the_latest_when_their_container_ends(files: Files) -> None:
    files.once(("write", "a", "first"))

    files.loopback.wait_for(lambda: not files.loopback.plane.scheduler.living_all())

    assert files.committed("a") == b"first"


def test_nothing_is_visible_before_a_commit(files: Files) -> None:
    files.kept(("write", "a", "first"))

    assert files.once(("read", "a")) == [None]


def test_a_container_that_dies_loses_what_it_did_not_commit(files: Files) -> None:
    with pytest.raises(modal.exception.InternalFailure):
        files.once(("write", "a", "kept"), ("commit",), ("write", "b", "lost"), ("die",))

    assert [its.path for its in files.volume.listdir("/")] == ["a"]


def test_commits_come_by_themselves_when_the_setting_asks_for_it(files: Files) -> None:
    files.loopback.settings.background_commit_seconds = 0.05
    files.kept(("write", "a", "first"))

    committed = files.loopback.committed("data")
    files.loopback.wait_for(lambda: (committed / "a").exists())

    assert files.once(("read", "a")) == ["first"]


def test_deletions_are_committed_too(files: Files) -> None:
    files.once(("write", "a", "first"), ("write", "sub/b", "second"), ("commit",))
    files.kept(("read", "a"))

    files.once(("delete", "a"), ("delete", "sub/b"), ("commit",))

    assert files.kept(("read", "a"), ("reload",), ("read", "a")) == ["first", None]


def test_a_write_in_place_stays_in_its_container(files: Files) -> None:
    files.once(("write", "a", "first"), ("commit",))
    files.kept(("read", "a"))

    files.once(("patch", "a", "F"), ("commit",))

    assert files.kept(("read", "a"), ("reload",), ("read", "a")) == ["first", "First"]


def test_the_last_write_of_a_file_wins_and_others_stay(files: Files) -> None:
    files.kept(("write", "a", "from kept"), ("write", "b", "from kept"))
    files.once(("write", "a", "from once"), ("write", "c", "from once"), ("commit",))

    files.kept(("commit",))

    assert files.once(("read", "a"), ("read", "b"), ("read", "c")) == [
        "from kept",
        "from kept",
        "from once",
    ]


def test_a_commit_brings_what_others_committed(files: Files) -> None:
    files.kept(("write", "a", "mine"))
    files.once(("write", "b", "theirs"), ("commit",))

    assert files.kept(("commit",), ("read", "b")) == ["theirs"]


@pytest.mark.parametrize("step", ["hold", "map", "enter"])
def test_a_reload_fails_while_a_file_is_open(files: Files, step: str) -> None:
    files.once(("write", "a", "first"), ("commit",))

    with pytest.raises(RuntimeError, match="there are open files preventing the operation"):
        files.kept((step, "a"), ("reload",))


def test_a_commit_works_while_a_file_is_open(files: Files) -> None:
    files.once(("write", "a", "first"), ("commit",))

    files.kept(("hold", "a"), ("write", "b", "second"), ("commit",))

    assert files.committed("b") == b"second"


def test_a_commit_without_the_volume_fails(files: Files) -> None:
    with pytest.raises(RuntimeError, match="not mounted"):
        files.once(("commit",), function="without")
