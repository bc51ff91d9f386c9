import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ml.merge.merge_models import (
    base_model,
    load,
    merge_and_die,
    merge_in_process,
    request_in,
    save_sharded,
    write_inputs,
)
from training.errors import MergeError
from training.merge.merge import merge, verify
from training.merge.receipt import Receipt, read_receipt, receipt_path
from training.merge.request import MergeProgress

# Processes are forked from a clean one that has already imported torch.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.ml.merge.merge_models", "training.merge.tensors.writing"])

COMPLETE = ["merged.safetensors", "merged.safetensors.receipt.json"]


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("after_tensors", [0, 7, 20])
def test_a_killed_merge_leaves_no_output_and_the_next_one_gives_the_same_bytes(
    tmp_path: Path, after_tensors: int
) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)
    undisturbed = replace(request, output=tmp_path / "undisturbed")
    merge(undisturbed)
    killed = _PROCESSES.Process(target=merge_and_die, args=(tmp_path, after_tensors))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert all(name.startswith(".") for name in files_in(request.output.parent))

    merge(request)

    assert request.output.read_bytes() == undisturbed.output.read_bytes()
    assert files_in(request.output.parent) == COMPLETE


def test_concurrent_processes_share_one_merge(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)

    with _PROCESSES.Pool(3) as pool:
        receipts = pool.map(merge_in_process, [tmp_path] * 3, chunksize=1)

    # Even the seconds are equal, because the others return the first one's receipt.
    assert len(set(receipts)) == 1
    verify(request.output, Receipt.model_validate_json(receipts[0]))
    assert files_in(request.output.parent) == COMPLETE


@pytest.mark.parametrize("shards", [1, 3])
def test_an_interrupted_merge_leaves_nothing(tmp_path: Path, shards: int) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)
    if shards > 1:
        request = replace(request, base=save_sharded(base_model(), tmp_path, shards))

    def interrupt(progress: MergeProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(request, on_progress=interrupt)

    assert files_in(request.output.parent) == []


@pytest.mark.parametrize("last", ["merged.safetensors.receipt.json", "merged.safetensors"])
def test_a_failure_at_the_very_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)

    def failing(rename: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def fail(self: Path, target: Path) -> Path:
            if target.name == last:
                raise OSError("the disk is gone")
            return rename(self, target)

        return fail

    monkeypatch.setattr(Path, "rename", failing(Path.rename))
    monkeypatch.setattr(Path, "replace", failing(Path.replace))

    with pytest.raises(MergeError, match="the disk is gone"):
        merge(request)
    assert files_in(request.output.parent) == []


def test_a_receipt_without_its_output_is_ignored(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)
    merge(request)
    request.output.unlink()
    receipt_path(request.output).write_text("{}")

    receipt = merge(request)

    assert read_receipt(receipt_path(request.output)) == receipt
    verify(request.output, receipt)


def test_the_same_merge_is_not_repeated(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)
    first = merge(request)
    made = request.output.stat()

    second = merge(request)

    assert second == first
    kept = request.output.stat()  # reading it may change the time of access
    assert (kept.st_ino, kept.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)


@pytest.mark.parametrize("what", ["strength", "lora", "base"])
def test_an_output_of_other_inputs_is_neither_reused_nor_replaced(
    tmp_path: Path, what: str
) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)
    merge(request)
    before = request.output.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    write_inputs(other, base_model(seed=5))
    if what == "strength":
        changed = replace(request, strength=0.5)
    elif what == "lora":
        changed = replace(request, lora_sha256="0" * 64)
    else:
        changed = replace(request, base=other / "base.safetensors")

    with pytest.raises(MergeError, match=f"already exists .*different {what}"):
        merge(changed)
    assert request.output.read_bytes() == before


def test_a_file_of_unknown_origin_is_not_taken_for_the_merge(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)
    merge(request)
    receipt_path(request.output).unlink()

    with pytest.raises(MergeError, match="comes from a different merge"):
        merge(request)


def test_a_truncated_output_is_not_reused(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)
    merge(request)
    request.output.write_bytes(request.output.read_bytes()[:-2])

    with pytest.raises(MergeError, match="not a complete safetensors file"):
        merge(request)


@pytest.mark.parametrize("output", ["folder", "folder/merged.safetensors.index.json"])
def test_a_sharded_model_appears_completely_and_is_found_again(tmp_path: Path, output: str) -> None:
    write_inputs(tmp_path)
    single = request_in(tmp_path)
    merge(single)
    index = save_sharded(base_model(), tmp_path, 3)
    request = replace(single, base=index, output=tmp_path / "new" / output)

    receipt = merge(request)

    assert merge(request) == receipt == read_receipt(receipt_path(request.output))
    verify(request.output, receipt)
    found = load(tmp_path / "new" / "folder")
    assert {name: t.tolist() for name, t in found.items()} == {
        name: t.tolist() for name, t in load(single.output).items()
    }
