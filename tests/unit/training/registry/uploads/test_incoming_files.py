"""A file that arrives in pieces becomes the file that was sent, despite interruptions."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from training.registry.uploads import files as module
from training.registry.uploads.files import FileFacts, IncomingFile, WrongOffsetError

DATA = random.Random(0).randbytes(300)


def incoming(folder: Path, data: bytes = DATA) -> IncomingFile:
    return IncomingFile(folder, FileFacts(path="annika.zip", size_bytes=len(data)))


def send(file: IncomingFile, data: bytes, offset: int, *blocks: int) -> None:
    """Send blocks of these sizes, as one request does."""
    writer = file.writer(offset)
    try:
        for size in blocks:
            writer.write([data[writer.offset : writer.offset + size]])
    finally:
        writer.close()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 64)


@settings(max_examples=examples(200), deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.lists(st.integers(0, 90), max_size=4), st.sampled_from(["seal", "restart"])),
        max_size=12,
    )
)
def test_pieces_of_any_size_become_the_file(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[list[int], str]]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    file = incoming(folder)
    for blocks, then in pieces:
        left = len(DATA) - file.received_bytes
        sizes: list[int] = []
        for size in blocks:
            sizes.append(min(size, left - sum(sizes)))
        send(file, DATA, file.received_bytes, *sizes)
        if then == "seal":
            file.seal()
        else:
            file = incoming(folder)
    send(file, DATA, file.received_bytes, len(DATA) - file.received_bytes)

    file.copy_to(folder / "whole")

    assert file.is_complete
    assert (folder / "whole").read_bytes() == DATA
    assert all(path.stat().st_size <= 64 for path in folder.glob(f"{file.facts.id}.*"))


def test_sealed_parts_never_change(tmp_path: Path) -> None:
    file = incoming(tmp_path)
    send(file, DATA, 0, 40)
    (sealed,) = file.seal()

    send(file, DATA, 40, 10)

    assert sealed.stat().st_size == 40
    assert [path.name for path in file.seal()] == [f"{file.facts.id}.{40:015d}"]
    assert file.seal() == []


def test_a_part_is_sealed_while_it_is_written(tmp_path: Path) -> None:
    file = incoming(tmp_path)
    writer = file.writer(0)
    writer.write([DATA[:20]])
    (sealed,) = file.seal()
    writer.write([DATA[20:50]])
    writer.close()

    assert sealed.stat().st_size == 20
    assert file.received_bytes == 50


def test_shorter_or_repeated_parts_of_an_ended_copy_do_no_harm(tmp_path: Path) -> None:
    file = incoming(tmp_path)
    for start, stop in ((0, 30), (20, 64), (64, 90), (100, 120)):  # one overlaps, one is far off
        (tmp_path / f"{file.facts.id}.{start:015d}").write_bytes(DATA[start:stop])

    assert file.received_bytes == 90
    send(file, DATA, 90, 64, 64, 82)
    file.copy_to(tmp_path / "whole")

    assert (tmp_path / "whole").read_bytes() == DATA


def test_bytes_at_a_wrong_offset_are_refused(tmp_path: Path) -> None:
    file = incoming(tmp_path)
    send(file, DATA, 0, 10)

    for offset in (0, 9, 11, 300):
        with pytest.raises(WrongOffsetError, match="The next byte is 10"):
            file.writer(offset)


def test_bytes_beyond_the_end_are_refused_and_dropped(tmp_path: Path) -> None:
    file = incoming(tmp_path)
    writer = file.writer(0)

    with pytest.raises(ValueError, match="more bytes than the 300 announced"):
        writer.write([DATA, b"x"])
    writer.close()

    assert file.received_bytes == 0


def test_an_incomplete_file_is_not_used(tmp_path: Path) -> None:
    file = incoming(tmp_path)
    send(file, DATA, 0, 10)

    with pytest.raises(ValueError, match="not complete"):
        file.copy_to(tmp_path / "whole")


def test_an_empty_file_is_complete_at_once(tmp_path: Path) -> None:
    file = incoming(tmp_path, b"")

    file.copy_to(tmp_path / "whole")

    assert file.is_complete
    assert (tmp_path / "whole").read_bytes() == b""


def test_a_changed_file_has_another_id() -> None:
    first = FileFacts(path="a.mp4", size_bytes=5, modified_ms=1)

    assert first.id == FileFacts(path="a.mp4", size_bytes=5, modified_ms=1).id
    others = [
        FileFacts(path="b.mp4", size_bytes=5, modified_ms=1),
        FileFacts(path="a.mp4", size_bytes=6, modified_ms=1),
        FileFacts(path="a.mp4", size_bytes=5, modified_ms=2),
    ]
    assert len({first.id, *(other.id for other in others)}) == 4
