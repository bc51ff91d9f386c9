"""A process's cache of the files that it has read."""

from storage.modal.file_cache import KnownFiles


def test_a_file_is_known_until_it_is_forgotten() -> None:
    known = KnownFiles()
    known.put("runs/a/spec.json", b"1")

    assert known.get("runs/a/spec.json") == b"1"
    known.forget("runs/a/spec.json")
    assert known.get("runs/a/spec.json") is None


def test_forgetting_a_folder_forgets_only_the_files_below() -> None:
    known = KnownFiles()
    for key in ("runs/a/spec.json", "runs/a/events/x", "runs/ab/spec.json"):
        known.put(key, b"1")

    known.forget("runs/a")

    assert known.get("runs/a/spec.json") is None
    assert known.get("runs/a/events/x") is None
    assert known.get("runs/ab/spec.json") == b"1"


def test_the_least_recently_used_file_is_dropped_first() -> None:
    known = KnownFiles(kept_bytes=10)
    known.put("a", b"12345")
    known.put("b", b"12345")
    known.get("a")

    known.put("c", b"1234")

    assert [known.get(key) is not None for key in ("a", "b", "c")] == [True, False, True]


def test_a_grown_file_replaces_the_known_one() -> None:
    known = KnownFiles(kept_bytes=10)
    for size in range(1, 9):
        known.put("a", b"x" * size)
    known.put("b", b"xx")

    assert known.get("a") == b"x" * 8
    assert known.get("b") == b"xx"


def test_a_file_larger_than_the_cache_is_not_kept() -> None:
    known = KnownFiles(kept_bytes=10)

    known.put("a", b"x" * 11)

    assert known.get("a") is None
