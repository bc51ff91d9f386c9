"""What a process remembers of the files that it has read."""

from storage.modal.file_cache import KnownFiles


def test_a_file_is_known_until_it_is_forgotten() -> None:
    known = KnownFiles()
    known.put("runs/a/spec.json", b"1")

    assert known.get("runs/a/spec.json") == b"1"
    known.forget("runs/a/spec.json")
    assert known.get("runs/a/spec.json") is None


def test_a_folder_is_forgotten_with_all_below_and_nothing_beside() -> None:
    known = KnownFiles()
    for key in ("runs/a/spec.json", "runs/a/events/x", "runs/ab/spec.json"):
        known.put(key, b"1")

    known.forget("runs/a")

    assert known.get("runs/a/spec.json") is None
    assert known.get("runs/a/events/x") is None
    assert known.get("runs/ab/spec.json") == b"1"


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    known = KnownFiles(kept_bytes=10)
    known.put("a", b"12345")
    known.put("b", b"12345")
    known.get("a")

    known.put("c", b"1234")

    assert [known.get(key) is not None for key in ("a", "b", "c")] == [True, False, True]


def test_a_file_that_grew_takes_the_place_of_what_was_known() -> None:
    known = KnownFiles(kept_bytes=10)
    for size in range(1, 9):
        known.put("a", b"x" * size)
    known.put("b", b"xx")

    assert known.get("a") == b"x" * 8
    assert known.get("b") == b"xx"


def test_a_file_larger_than_all_that_is_kept_is_not_known() -> None:
    known = KnownFiles(kept_bytes=10)

    known.put("a", b"x" * 11)

    assert known.get("a") is None
