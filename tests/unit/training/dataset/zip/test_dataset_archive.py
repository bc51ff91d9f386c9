"""An untrusted zip is refused with a reason before anything is unpacked."""

import io
import pickle
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args
from unittest.mock import create_autospec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import media
from tests.examples import examples
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.zip.archive import (
    ArchiveRefusedError,
    MemberDamagedError,
    RefusalCode,
    open_archive,
)
from training.errors import DatasetError
from training.files.sizes import GIB, MIB


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def link(name: str, kind: int = stat.S_IFLNK) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


def encrypted() -> bytes:
    content = bytearray(zipped(("a.txt", b"secret")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


def bomb_of_10_gb() -> bytes:
    """A small zip whose one entry claims to unpack to 10 GB."""
    content = bytearray(zipped(("videos/a.mp4", b"\0" * 1000)))
    at = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 4_000_000_000)
    one = bytes(content[at : content.index(b"PK\x05\x06")])
    many = one + one.replace(b"a.mp4", b"b.mp4") + one.replace(b"a.mp4", b"c.mp4")
    end = bytearray(content[content.index(b"PK\x05\x06") :])
    struct.pack_into("<HHI", end, 8, 3, 3, len(many))
    return bytes(content[:at]) + many + bytes(end)


def with_name(replacement: bytes) -> bytes:
    return zipped(("x" * len(replacement), b"hello")).replace(b"x" * len(replacement), replacement)


def many_entries() -> bytes:
    return zipped(*((f"{index}.txt", b"") for index in range(60)))


def truncated() -> bytes:
    return zipped(("a.png", media.png()))[:-200]


def cut_in_a_zip_inside() -> bytes:
    """A zip that was cut behind the end of a zip in it."""
    inside = zipped(("b.png", media.png()))
    whole = zipped(("a.png", b"1"), (zipfile.ZipInfo("inside.zip"), inside), ("c.png", b"2"))
    return whole[: whole.index(inside) + len(inside)]


def with_sizes(**sizes: int) -> bytes:
    """A zip whose list gives the first file these sizes: `packed` and `unpacked`."""
    content = bytearray(zipped(("a.png", b"hello"), ("b.png", b"world")))
    at = content.index(b"PK\x01\x02")
    for name, size in sizes.items():
        struct.pack_into("<I", content, at + (20 if name == "packed" else 24), size)
    return bytes(content)


def far_away(field: str, value: int) -> bytes:
    """A zip with a zip64 record or locator of which one field has that value."""
    content = zipped(("a.png", b"hello"))
    at = content.index(b"PK\x05\x06")
    size, offset = struct.unpack_from("<2L", content, at + 12)
    facts = {"record": at, "size": size, "offset": offset, field: value}
    record = struct.pack("<4sQ2H2L2Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1)
    record += struct.pack("<2Q", facts["size"], facts["offset"])
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, facts["record"], 1)
    return content[:at] + record + locator + content[at:]


def with_method(method: int) -> bytes:
    content = bytearray(zipped(("a.png", b"hello")))
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + 10, method)
    return bytes(content)


def duplicated() -> bytes:
    return zipped(("a.png", b"1"), ("b.png", b"2")).replace(b"b.png", b"a.png")


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a text": (lambda: b"hello", "not-a-zip"),
    "nothing": (lambda: b"", "not-a-zip"),
    "a RAR": (lambda: b"Rar!\x1a\x07\x01\x00" + b"\0" * 64, "not-a-zip"),
    "a first part": (lambda: b"PK\x07\x08" + zipped(("a.png", b"x"))[:-30], "split-zip"),
    "an empty zip": (lambda: zipped(), "empty-zip"),
    "only junk": (lambda: zipped(("__MACOSX/._a", b"")), "empty-zip"),
    "a climbing name": (lambda: zipped(("../evil.png", b"")), "unsafe-name"),
    "a climb inside": (lambda: zipped(("a/../../evil.png", b"")), "unsafe-name"),
    "a Windows climb": (lambda: with_name(b"..\\evil.png"), "unsafe-name"),
    "an absolute name": (lambda: zipped(("/etc/passwd", b"")), "unsafe-name"),
    "a drive": (lambda: zipped(("C:/evil.png", b"")), "unsafe-name"),
    "a network share": (lambda: with_name(b"\\\\host\\share.png"), "unsafe-name"),
    "a zero byte": (lambda: with_name(b"good.txt\0.png"), "unsafe-name"),
    "a climbing folder": (lambda: zipped(("../x/", b""), ("a.png", b"")), "unsafe-name"),
    "a symbolic link": (lambda: zipped((link("a.png"), b"/etc/passwd")), "link-in-zip"),
    "a pipe": (lambda: zipped((link("a.png", stat.S_IFIFO), b"")), "link-in-zip"),
    "names in no encoding": (lambda: with_name(b"a\xff\xfe\x80.png"), "unreadable-names"),
    "a password": (encrypted, "encrypted-zip"),
    "WinZip's encryption": (lambda: with_method(99), "encrypted-zip"),
    "a 10 GB bomb": (bomb_of_10_gb, "zip-bomb"),
    "a dense bomb": (lambda: zipped(("a.bmp", bytes(80_000_000))), "zip-bomb"),
    "too many files": (many_entries, "too-many-files"),
    "a cut off zip": (truncated, "truncated-zip"),
    "cut in a zip inside": (cut_in_a_zip_inside, "truncated-zip"),
    "a size that cannot be": (lambda: with_sizes(packed=5_000_000), "truncated-zip"),
    "a size with a flipped bit": (lambda: with_sizes(packed=5 + 128), "truncated-zip"),
    **{
        f"a far {field} of {value}": (partial(far_away, field, value), "truncated-zip")
        for field in ("record", "size", "offset")
        for value in (2**64 - 1, 2**63, 2**63 - 1, 1_000_000)
    },
    "a name twice": (duplicated, "duplicate-name"),
    "an unknown method": (lambda: with_method(98), "unknown-compression"),
    "too many bytes": (
        lambda: zipped(("a.png", random.Random(0).randbytes(2 * MIB))),
        "archive-too-large",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_dangerous_or_broken_zip_is_refused_with_cause_and_fix(tmp_path: Path, case: str) -> None:
    make, code = REFUSED[case]
    path = tmp_path / "upload.zip"
    path.write_bytes(make())

    with pytest.raises(ArchiveRefusedError) as caught:
        inspect_zip(path, limits=Limits(files=50, archive_bytes=MIB))

    assert caught.value.code == code
    assert caught.value.cause.endswith(".")
    assert caught.value.fix.endswith(".")
    assert [entry.name for entry in tmp_path.iterdir()] == ["upload.zip"]


@pytest.mark.parametrize(
    ("method", "name", "fix"),
    [
        (9, "Deflate64", "several smaller zips"),
        (93, "Zstandard", "7-Zip: method Deflate"),
        (95, "xz", "7-Zip: method Deflate"),
        (96, "WinZip's JPEG compression", "7-Zip: method Deflate"),
        (97, "WavPack", "7-Zip: method Deflate"),
        (98, "PPMd", "7-Zip: method Deflate"),
        (77, "method 77", "7-Zip: method Deflate"),
    ],
)
def test_an_unknown_method_is_named_with_a_fix(
    method: int, name: str, fix: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(with_method(method))

    with pytest.raises(ArchiveRefusedError) as caught, open_archive(path, Limits()):
        pass

    assert f"a.png is compressed with {name}" in caught.value.cause
    assert fix in caught.value.fix


def test_every_refusal_has_a_fixture() -> None:
    assert {code for _, code in REFUSED.values()} == set(get_args(RefusalCode))


def test_refusal_survives_pickling() -> None:
    error = ArchiveRefusedError("The zip is empty.", "Fill it.", "empty-zip")

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.cause, copy.fix, copy.code) == ("The zip is empty.", "Fill it.", "empty-zip")


def test_a_zip_bomb_is_refused_before_anything_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.zip"
    path.write_bytes(bomb_of_10_gb())
    read = create_autospec(zipfile.ZipExtFile.read)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", read)

    with pytest.raises(DatasetError, match=r"11 GiB; the limit is 8\.0 GiB"):
        inspect_zip(path)

    assert read.call_count == 0


def test_an_entry_with_a_false_size_never_unpacks_to_more_than_declared(tmp_path: Path) -> None:
    content = bytearray(zipped(("a.bmp", bytes(1_000_000))))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + offset, 100)
    path = tmp_path / "liar.zip"
    path.write_bytes(content)
    target = tmp_path / "out"

    with open_archive(path, Limits()) as archive, pytest.raises(MemberDamagedError):
        archive.copy(archive.members[0], target)

    assert target.stat().st_size <= 100


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (["datasets/annika/images/000.png", "datasets/annika/videos/1.mp4"],
         ["images/000.png", "videos/1.mp4"]),
        (["annika/a.png", "annika/a.txt"], ["a.png", "a.txt"]),
        (["images/a.png", "images/a.txt"], ["images/a.png", "images/a.txt"]),
        (["a.png", "more/b.png"], ["a.png", "more/b.png"]),
        (["x/y/z/images/a.png"], ["images/a.png"]),
    ],
)  # fmt: skip
def test_folders_around_the_whole_set_are_stripped(
    tmp_path: Path, stored: list[str], expected: list[str]
) -> None:
    path = media.write_zip(tmp_path / "a.zip", dict.fromkeys(stored, b"x"))

    with open_archive(path, Limits()) as archive:
        names = [str(member.name) for member in archive.members]

    assert names == expected


def test_windows_separators_and_junk_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(
        zipped(
            ("set@images@", b""),
            ("set@images@a.png", b"x"),
            ("__MACOSX/set/._a.png", b"x"),
            ("set/.DS_Store", b"x"),
            ("set/Thumbs.db", b"x"),
        ).replace(b"set@images@", b"set\\images\\")
    )

    with open_archive(path, Limits()) as archive:
        assert [str(member.name) for member in archive.members] == ["images/a.png"]
        assert archive.junk == ("__MACOSX/set/._a.png", "set/.DS_Store", "set/Thumbs.db")


def test_utf8_names_without_their_flag_are_read_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "mac.zip"
    path.write_bytes(zipped(("caf@@.png", b"x")).replace(b"caf@@", "café".encode()))

    with open_archive(path, Limits()) as archive:
        assert [member.path for member in archive.members] == ["café.png"]


def test_limits_default_to_more_than_a_five_gib_dataset() -> None:
    limits = Limits()

    assert limits.archive_bytes > 5 * GIB
    assert limits.unpacked_bytes < 10_000_000_000


BASE = media.zip_bytes({"a/x.txt": "hello " * 40, "a/y.txt": "world", "b.txt": "b"})


@settings(max_examples=examples(150), deadline=None)
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 12))
def test_a_damaged_zip_gives_a_report_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int
) -> None:
    mutated = bytearray(BASE)
    rng = random.Random(seed)
    for _ in range(changes):
        mutated[rng.randrange(len(mutated))] = rng.randrange(256)
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / "m.zip"
    path.write_bytes(mutated[: rng.choice([len(mutated), rng.randrange(1, len(mutated))])])

    try:
        report = inspect_zip(path)
    except DatasetError as error:
        outcome = error.cause + error.fix
    else:
        outcome = "" if report.is_usable else "errors found"
    assert outcome
    assert [entry.name for entry in folder.iterdir()] == ["m.zip"]
