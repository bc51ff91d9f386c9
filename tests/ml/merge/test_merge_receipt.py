import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.damage import cut_off, flip_a_bit, remove
from tests.ml.merge.merge_models import (
    adapter,
    base_model,
    in_fp64,
    request_in,
    save_sharded,
    write_inputs,
)
from training.errors import MergeError
from training.files.hashing import file_sha256
from training.merge.inputs.files import read_layout
from training.merge.inputs.hashes import combined_sha256
from training.merge.merge import merge, verify
from training.merge.receipt import Receipt, address, read_receipt, receipt_path
from training.merge.request import MergeProgress, MergeRequest
from training.merge.verify import check_sample


@pytest.fixture
def request_(tmp_path: Path) -> MergeRequest:
    write_inputs(tmp_path)
    return request_in(tmp_path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_receipt_names_the_inputs_and_what_was_done(request_: MergeRequest) -> None:
    receipt = merge(request_)

    assert receipt.base_sha256 == sha256(request_.base)
    assert receipt.lora_sha256 == sha256(request_.lora)
    assert receipt.hashes_taken_as_known == ()
    assert (receipt.layers_merged, receipt.layers_expected, receipt.layers_extra) == (8, 8, 0)
    assert receipt.bytes == request_.output.stat().st_size
    assert receipt.sampled_values > 0


def test_the_largest_change_and_the_sampled_error_are_measured(request_: MergeRequest) -> None:
    receipt = merge(request_)

    base = base_model()
    merged = in_fp64(base, adapter())
    differences = {name: merged[name] - base[name].double() for name in merged}
    changes = {name: float(its.square().mean().sqrt()) for name, its in differences.items()}
    assert receipt.largest_change_layer == max(changes, key=lambda name: changes[name])
    assert receipt.largest_change == pytest.approx(max(changes.values()), rel=1e-6)
    assert 0 < receipt.sampled_max_error <= 2**-11 * 0.5


def test_the_output_digest_is_that_of_the_tensors_in_file_order(request_: MergeRequest) -> None:
    receipt = merge(request_)

    content = request_.output.read_bytes()
    digests = [
        hashlib.sha256(content[spec.start : spec.start + spec.size_bytes]).digest()
        for spec in read_layout(request_.output).tensors
    ]
    assert receipt.output_digest == hashlib.sha256(b"".join(digests)).hexdigest()


def test_known_hashes_are_used_and_the_receipt_says_so(request_: MergeRequest) -> None:
    receipt = merge(replace(request_, base_sha256="b" * 64))

    assert receipt.base_sha256 == "b" * 64
    assert receipt.lora_sha256 == sha256(request_.lora)
    assert receipt.hashes_taken_as_known == ("base",)


def test_an_invalid_hash_is_a_bug_of_the_caller(request_: MergeRequest) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        replace(request_, base_sha256="main")


def test_the_stored_receipt_is_the_one_that_is_hashed(request_: MergeRequest) -> None:
    receipt = merge(request_)

    stored = receipt_path(request_.output)
    assert read_receipt(stored) == receipt
    assert receipt.sha256 == sha256(stored)


def test_the_merge_hash_does_not_depend_on_the_duration(request_: MergeRequest) -> None:
    receipt = merge(request_)
    elsewhere = receipt.model_copy(
        update={"seconds": 99.0, "base_name": "other", "versions": {}, "sampled_values": 1}
    )
    otherwise = receipt.model_copy(update={"strength": 0.5})

    assert elsewhere.merge_sha256 == receipt.merge_sha256
    assert otherwise.merge_sha256 != receipt.merge_sha256


def test_the_address_depends_on_each_input() -> None:
    addresses = {
        address("a" * 64, "b" * 64, 1.0),
        address("b" * 64, "a" * 64, 1.0),
        address("a" * 64, "a" * 64, 1.0),
        address("a" * 64, "b" * 64, 0.9),
    }

    assert len(addresses) == 4
    assert address("a" * 64, "b" * 64, 1) in addresses


def test_progress_ends_at_the_total(request_: MergeRequest) -> None:
    seen: list[MergeProgress] = []

    receipt = merge(request_, on_progress=seen.append)

    last = seen[-1]
    assert last.layers_done == last.layers_total == receipt.layers_merged
    assert last.bytes_done == last.bytes_total
    assert [p.bytes_done for p in seen] == sorted(p.bytes_done for p in seen)


def test_verify_accepts_the_merge_and_names_a_differing_tensor(
    request_: MergeRequest,
) -> None:
    receipt = merge(request_)
    verify(request_.output, receipt)
    spec = next(s for s in read_layout(request_.output).tensors if s.name == "head.head.weight")
    content = bytearray(request_.output.read_bytes())
    content[spec.start] ^= 1
    request_.output.write_bytes(content)

    with pytest.raises(MergeError, match=r"1 of \d+ tensors .*: head.head.weight"):
        verify(request_.output, receipt)


def test_a_sample_of_a_small_output_is_all_of_it(request_: MergeRequest) -> None:
    receipt = merge(request_)
    check_sample(request_.output, receipt)
    flip_a_bit(request_.output)

    with pytest.raises(MergeError, match=r"1 of \d+ tensors"):
        check_sample(request_.output, receipt)


@pytest.mark.parametrize("damage", [remove, cut_off])
def test_a_sample_is_not_taken_from_an_incomplete_output(
    request_: MergeRequest, damage: Callable[[Path], None]
) -> None:
    receipt = merge(request_)
    damage(request_.output)

    with pytest.raises(MergeError):
        check_sample(request_.output, receipt)


def test_verify_recognizes_the_unmerged_base(request_: MergeRequest) -> None:
    receipt = merge(request_)

    with pytest.raises(MergeError, match=r"8 of \d+ tensors of base.safetensors"):
        verify(request_.base, receipt)


def test_verify_notices_another_shape_with_the_same_bytes(request_: MergeRequest) -> None:
    receipt = merge(request_)
    content = request_.output.read_bytes()
    request_.output.write_bytes(content.replace(b"[56,24]", b"[24,56]"))

    with pytest.raises(MergeError, match="Shapes or dtypes"):
        verify(request_.output, receipt)


def test_a_modified_receipt_is_refused(request_: MergeRequest) -> None:
    receipt = merge(request_)
    stored = receipt_path(request_.output)
    tampered = receipt.to_json().replace(receipt.output_digest, "0" * 64)
    stored.write_text(tampered)

    with pytest.raises(MergeError, match="output_digest"):
        read_receipt(stored)
    with pytest.raises(ValidationError):
        Receipt.model_validate_json(tampered)


def test_a_receipt_with_fewer_layers_than_expected_is_refused(request_: MergeRequest) -> None:
    stored = merge(request_).to_json()

    with pytest.raises(ValidationError, match="7 of 8 layers"):
        Receipt.model_validate_json(stored.replace('"layers_merged": 8', '"layers_merged": 7'))


def test_a_file_that_is_not_a_receipt_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))

    with pytest.raises(MergeError, match="is not a readable receipt of a merge") as caught:
        read_receipt(tmp_path / "binary")
    with pytest.raises(MergeError, match=r"There is no receipt at .*nothing") as missing:
        read_receipt(tmp_path / "nothing")

    assert "\n" not in caught.value.cause
    assert "Give the path of the receipt" in missing.value.fix


def test_the_hash_of_several_files_is_that_of_their_sha256sum(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    index = save_sharded(base_model(), tmp_path, 2)
    names = sorted(path.name for path in tmp_path.glob("model-*"))

    receipt = merge(replace(request_in(tmp_path), base=index, output=tmp_path / "several"))

    lines = "".join(f"{sha256(tmp_path / name)}  {name}\n" for name in names)
    assert receipt.base_sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert combined_sha256({"only": "a" * 64}) == "a" * 64


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 7, 3 << 20])
def test_files_of_any_size_are_hashed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))

    assert file_sha256(path) == sha256(path)
