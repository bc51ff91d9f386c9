from dataclasses import replace
from pathlib import Path

import pytest

from tests.ml.merge.merge_models import (
    base_model,
    request_in,
    save_sharded,
    write_inputs,
)
from training.errors import MergeError
from training.merge.merge import merge, verify
from training.merge.request import MergeRequest


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def request_(tmp_path: Path) -> MergeRequest:
    write_inputs(tmp_path)
    return request_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"), [("base.safetensors", "base"), ("lora.safetensors", "LoRA")]
)
@pytest.mark.parametrize("through_link", [False, True])
def test_an_error_never_suggests_deleting_an_input(
    tmp_path: Path, request_: MergeRequest, name: str, kind: str, through_link: bool
) -> None:
    output = tmp_path / name
    if through_link:
        output = tmp_path / "link"
        output.symlink_to(tmp_path / name)
    before = contents(tmp_path)

    with pytest.raises(MergeError) as caught:
        merge(replace(request_, output=output))

    assert f"is the {kind} itself" in caught.value.cause
    assert "elete" not in caught.value.fix
    assert contents(tmp_path) == before


@pytest.mark.parametrize("output", [".", "model-00002-of-00002.safetensors", "new.index.json"])
def test_an_error_never_suggests_deleting_a_sharded_base(
    tmp_path: Path, request_: MergeRequest, output: str
) -> None:
    folder = tmp_path / "sharded"
    folder.mkdir()
    index = save_sharded(base_model(), folder, 2)

    with pytest.raises(MergeError, match="is the base itself"):
        merge(replace(request_, base=index, output=folder / output))


def test_a_file_is_not_merged_into_a_folder(tmp_path: Path, request_: MergeRequest) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    before = contents(tmp_path)

    with pytest.raises(MergeError, match="is a folder"):
        merge(replace(request_, output=folder))

    assert contents(tmp_path) == before
    assert list(folder.iterdir()) == []


def test_verify_says_to_merge_a_shortened_output_again(request_: MergeRequest) -> None:
    receipt = merge(request_)
    request_.output.write_bytes(request_.output.read_bytes()[:-1])

    with pytest.raises(MergeError, match="not a complete safetensors file") as caught:
        verify(request_.output, receipt)

    assert "merge again" in caught.value.fix


def test_verify_counts_the_bytes_it_has_read(request_: MergeRequest) -> None:
    receipt = merge(request_)
    seen: list[tuple[int, int]] = []

    verify(request_.output, receipt, on_progress=lambda done, whole: seen.append((done, whole)))

    (size,) = {whole for _, whole in seen}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (size, size)
    assert 0 < size < receipt.bytes
