"""The checksum inside a safetensors file: it covers the tensors and what the header says."""

from pathlib import Path

import pytest

from training.files.safetensors_header import read_header
from training.files.seal import is_as_sealed, seal
from training.rehearsal import tensor_file
from training.rehearsal.tensor_file import Raw

TENSORS = {"latents": Raw("F16", (2, 3), bytes(range(12))), "empty": Raw("F32", (0,), b"")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    tensor_file.write(path, TENSORS, {"caption1": "käthe"})
    return path


def test_a_seal_changes_neither_tensors_nor_metadata(file: Path) -> None:
    seal(file)

    header = read_header(file)
    assert {name: header.read(name).tobytes() for name in header.tensors} == {
        name: raw.data for name, raw in TENSORS.items()
    }
    assert header.metadata.items() >= {"caption1": "käthe"}.items()
    assert is_as_sealed(file)
    assert list(file.parent.iterdir()) == [file]


def test_every_changed_byte_of_a_sealed_file_is_found(file: Path) -> None:
    seal(file)
    data = file.read_bytes()
    name = data.index(b"lorabot.crc32")  # without it, a file is one of an earlier version

    for at in {*range(8, len(data))} - {*range(name, name + len(b"lorabot.crc32"))}:
        changed = bytearray(data)
        changed[at] ^= 1
        file.write_bytes(changed)
        assert not is_sound(file), (at, data[max(0, at - 9) : at + 9])


def is_sound(file: Path) -> bool:
    """Return whether neither the reader nor the seal finds anything wrong."""
    try:
        read_header(file)
        return is_as_sealed(file)
    except ValueError:
        return False


@pytest.mark.parametrize("metadata", [b"{}", b"null"])
def test_a_file_without_a_seal_is_trusted_and_can_be_sealed(
    tmp_path: Path, metadata: bytes
) -> None:
    text = b'{"__metadata__":' + metadata + b',"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"1")
    assert is_as_sealed(file)

    seal(file)

    assert is_sound(file)


def test_sealing_twice_changes_nothing(file: Path) -> None:
    seal(file)
    first = file.read_bytes()

    seal(file)

    assert file.read_bytes() == first
