"""The header of safetensors files: written ones can be read, damaged ones are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import (
    load_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from training.files.safetensors_header import header_bytes, read_header

TENSORS = [("b", "F32", (2, 3), 24), ("a", "BF16", (2,), 4)]


def written(folder: Path, metadata: dict[str, str]) -> Path:
    path = folder / "file.safetensors"
    values = np.arange(6, dtype="<f4").tobytes() + b"\x80\x3f\x00\x40"
    path.write_bytes(header_bytes(TENSORS, metadata) + values)
    return path


def with_header(folder: Path, text: str, data: bytes = b"") -> Path:
    path = folder / "file.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + data)
    return path


def test_a_written_header_can_be_read_with_its_metadata(tmp_path: Path) -> None:
    path = written(tmp_path, {"z": "ä", "a": "1"})

    header = read_header(path)

    assert header.metadata == {"a": "1", "z": "ä"}
    assert list(header.tensors) == ["b", "a"]
    assert header.read("b").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert header.read("a").tolist() == [1.0, 2.0]
    assert (header.tensors["b"].elements, header.tensors["b"].size_bytes) == (6, 24)
    assert path.read_bytes().startswith(header.raw)


def test_the_library_reads_a_written_header(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(header_bytes([("x", "F32", (2,), 8)], {}) + np.ones(2, "<f4").tobytes())

    assert load_file(path)["x"].tolist() == [1, 1]


def test_equal_content_gives_an_equal_header_padded_to_eight_bytes() -> None:
    first = header_bytes(TENSORS, {"b": "2", "a": "1"})

    assert first == header_bytes(TENSORS, {"a": "1", "b": "2"})
    assert len(first) % 8 == 0
    assert b"__metadata__" not in header_bytes(TENSORS, {})


@pytest.mark.parametrize("length", [0, 4, 8, 20, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    path = written(tmp_path, {})
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(ValueError, match="cut off"):
        read_header(path)


def test_a_tensor_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    entry = json.dumps({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})

    with pytest.raises(ValueError, match="twice: x"):
        read_header(with_header(tmp_path, f'{{"x":{entry},"x":{entry}}}', b"0000"))


def tensor(**changed: object) -> str:
    return json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changed}})


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "1", "{", '{"x":1}', '{"x":{"dtype":"F32"}}', '{"x":{"data_offsets":[1]}}'),
        *(f'{{"__metadata__":{given}}}' for given in ("[]", "1", '"a"', '{"a":1}', '{"a":null}')),
        *(tensor(shape=shape) for shape in ([2], [-1], ["1"], [1.0], [2**70], None, 1)),
        *(tensor(data_offsets=offsets) for offsets in ([4, 0], [-4, 0], [0.0, 4.0], [0, 4, 4])),
        *(tensor(dtype=5), '{"x":' + "[" * 100_000),
    ],
)
def test_a_malformed_header_is_refused(tmp_path: Path, text: str) -> None:
    path = with_header(tmp_path, text, b"0000")

    with pytest.raises(ValueError, match=r"malformed|Expecting|cut off"):
        read_header(path)
    with pytest.raises(SafetensorError), safe_open(path, framework="numpy"):
        pass  # the library refuses the same files


def test_metadata_that_is_null_is_none(tmp_path: Path) -> None:
    path = with_header(tmp_path, '{"__metadata__":null,' + tensor()[1:], b"0000")

    assert read_header(path).metadata == {}
    assert load_file(path)["x"].shape == (1,)  # so does the library
