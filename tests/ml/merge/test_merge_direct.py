import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from training.merge.disk.stream_writer import StreamWriter

_PAGE = 4096


def _write(path: Path, start: int, data: bytes, piece: int) -> None:
    with ThreadPoolExecutor(1) as disk, StreamWriter(path, start, piece, disk) as writer:
        for done in range(0, len(data), piece):
            part = data[done : done + piece]
            writer.room(len(part))[:] = part
            writer.commit(len(part))
        writer.flush()


@settings(max_examples=examples(60), deadline=None)
@given(
    sizes=st.lists(
        st.integers(0, 5 * _PAGE) | st.integers(0, 300).map(lambda n: 16 * n),
        min_size=1,
        max_size=6,
    ),
    first=st.sampled_from([0, 8, 16, 160, 4_080, 4_096, 5_001]),
    piece=st.integers(1, 3 * _PAGE),
)
def test_neighbours_that_share_pages_are_written_side_by_side(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    first: int,
    piece: int,
) -> None:
    path = tmp_path_factory.mktemp("direct") / "file"
    header = os.urandom(first)
    parts = [os.urandom(size) for size in sizes]
    starts = [first + sum(sizes[:i]) for i in range(len(sizes))]
    path.write_bytes(header + bytes(sum(sizes)))

    with ThreadPoolExecutor(4) as pool:
        for future in [
            pool.submit(_write, path, start, part, piece)
            for start, part in zip(starts, parts, strict=True)
        ]:
            future.result()

    assert path.read_bytes() == header + b"".join(parts)


def test_whole_pages_do_not_enter_the_page_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 64 * _PAGE)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system has no direct writes")

    _write(path, 112, os.urandom(60 * _PAGE), 1_000)

    assert _is_cached(path, 0)
    assert not _is_cached(path, 30)
    assert _is_cached(path, 60)


@pytest.mark.parametrize("refused_at", ["open", "write"])
def test_a_file_system_without_direct_writes_gets_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused_at: str
) -> None:
    path, data = tmp_path / "file", os.urandom(3 * _PAGE + 77)
    path.write_bytes(bytes(len(data) + 16))
    really_open, really_write = os.open, os.pwrite
    direct_files: set[int] = set()

    def refuse_open(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT and refused_at == "open":
            raise OSError(errno.EINVAL, "Invalid argument")
        descriptor = really_open(path, flags & ~os.O_DIRECT, mode)
        if flags & os.O_DIRECT:
            direct_files.add(descriptor)
        return descriptor

    def refuse_write(descriptor: int, part: memoryview, offset: int) -> int:
        if descriptor in direct_files:
            direct_files.clear()
            raise OSError(errno.EINVAL, "Invalid argument")
        return really_write(descriptor, part, offset)

    monkeypatch.setattr(os, "open", refuse_open)
    monkeypatch.setattr(os, "pwrite", refuse_write)
    _write(path, 16, data, 1_000)

    assert path.read_bytes() == bytes(16) + data


def test_a_failing_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * _PAGE))

    def fail(descriptor: int, part: memoryview, offset: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwrite", fail)

    with pytest.raises(OSError, match="Input/output error"):
        _write(path, 0, bytes(3 * _PAGE), _PAGE)


def _is_cached(path: Path, page: int) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        os.preadv(descriptor, [bytearray(_PAGE)], page * _PAGE, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("this file system does not say what it has in the page cache")
        raise
    finally:
        os.close(descriptor)
    return True
