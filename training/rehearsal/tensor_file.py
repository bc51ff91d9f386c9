"""Safetensors files whose bytes depend on their content alone, written whole or not at all.

The library's own writer orders the metadata at random, so two equal runs would differ.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from training.rehearsal.failure import MusubiError

DType = Literal["BF16", "F16", "F32", "I64"]
Floats = NDArray[np.float32]

_PARTIAL = ".partial"
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Raw:
    """One tensor as it lies in a file."""

    dtype: DType
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies in a file: dtype, shape and the bytes' offset in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about itself."""

    entries: dict[str, Entry]
    metadata: dict[str, str] = field(default_factory=dict[str, str])


def encode(values: Floats, dtype: DType) -> Raw:
    """Return `values` in `dtype`; bf16 is rounded to the nearest even number."""
    shape = tuple(values.shape)
    if dtype == "F32":
        return Raw(dtype, shape, values.astype("<f4").tobytes())
    if dtype == "F16":
        return Raw(dtype, shape, values.astype("<f2").tobytes())
    if dtype == "I64":
        return Raw(dtype, shape, values.astype("<i8").tobytes())
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return Raw(dtype, shape, (rounded >> np.uint32(16)).astype("<u2").tobytes())


def serialize(tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> list[bytes]:
    """Return the file's parts: first the header, then each tensor, sorted by name."""
    names = sorted(tensors)
    header: dict[str, object] = {}
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    offset = 0
    for name in names:
        raw = tensors[name]
        end = offset + len(raw.data)
        header[name] = {
            "dtype": raw.dtype,
            "shape": list(raw.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return [
        len(text).to_bytes(_LENGTH_BYTES, "little") + text,
        *(tensors[name].data for name in names),
    ]


def write(path: Path, tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that appears under its name only when complete.

    Raises:
        OSError: The disk is full or not writable; what was there before is unchanged.
    """
    with whole_file(path) as stream:
        for part in serialize(tensors, metadata):
            stream.write(part)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a stream whose bytes get the name `path` at the end; nothing remains of a failure."""
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Give a directory that gets the name `path` at the end; nothing remains of a failure."""
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        _replace_directory(path, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace_directory(path: Path, partial: Path) -> None:
    if not path.exists():
        partial.rename(path)
        return
    # A directory cannot be renamed over a full one; the old one steps aside for a moment.
    aside = path.with_name(f".{path.name}.old{_PARTIAL}")
    path.rename(aside)
    partial.rename(path)
    shutil.rmtree(aside)


def remove_partials(directory: Path, name: str) -> None:
    """Remove what a killed writer left of files and directories that start with `name`."""
    for left in directory.glob(f".{name}*{_PARTIAL}"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def read_header(path: Path) -> Header:
    """Return the header of a safetensors file.

    Raises:
        MusubiError: The file is absent or cut off; the text is the one the library gives.
    """
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            text = stream.read(length)
            size_bytes = stream.seek(0, os.SEEK_END)
    except FileNotFoundError as error:
        raise MusubiError(
            f"FileNotFoundError: [Errno 2] No such file or directory: '{path}'",
            "Check that the file was fetched or cached.",
        ) from error
    header = _parse_header(text, start=_LENGTH_BYTES + length) if len(text) == length else None
    if header is None or any(e.offset + e.size_bytes > size_bytes for e in header.entries.values()):
        raise MusubiError(
            "safetensors_rust.SafetensorError: Error while deserializing header: "
            "MetadataIncompleteBuffer",
            f"{path} is cut off or no safetensors file: fetch or cache it again.",
        )
    return header


def _parse_header(text: bytes, *, start: int) -> Header | None:
    try:
        fields = cast("dict[str, dict[str, object]]", json.loads(text))
    except ValueError:
        return None
    metadata = cast("dict[str, str]", fields.pop("__metadata__", {}))
    entries: dict[str, Entry] = {}
    for name, value in fields.items():
        begin, end = cast("tuple[int, int]", value["data_offsets"])
        shape = tuple(cast("list[int]", value["shape"]))
        entries[name] = Entry(str(value["dtype"]), shape, start + begin, end - begin)
    return Header(entries, metadata)


def read_floats(path: Path, entry: Entry) -> Floats:
    """Return one tensor of a file as float32."""
    with path.open("rb") as stream:
        stream.seek(entry.offset)
        return decode(np.frombuffer(stream.read(entry.size_bytes), np.uint8), entry)


def decode(data: NDArray[np.uint8], entry: Entry) -> Floats:
    """Return the bytes of one tensor as float32 in the entry's shape."""
    if entry.dtype == "BF16":
        return widen(data.view("<u2")).reshape(entry.shape)
    kind = {"F16": "<f2", "F32": "<f4", "I64": "<i8"}.get(entry.dtype)
    if kind is None:
        raise MusubiError(
            f"ValueError: The rehearsal cannot read tensors of type {entry.dtype}",
            "Use a bf16, fp16 or fp32 file.",
        )
    return data.view(kind).astype(np.float32).reshape(entry.shape)


def widen(bits: NDArray[np.uint16]) -> Floats:
    """Return bf16 values, given as their 16 bits, as float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
