"""LoRA files to start from: what is taken, bound and refused, and what stays of a refused one."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import (
    load_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from bot.messages.checkpoint_text import checkpoint_card, checkpoint_list, usage
from storage.local.store import FolderStore
from tests.adapters import tensors, widths, write_adapter
from training.errors import AdapterError, NotFoundError, RequestError, TrainingError
from training.registry.loras import Loras, StoredLora
from training.vocabulary import ExpertName

T2V22, HIGH_RANGE = "wan22-t2v-vanilla", {"modelspec.timestep_range": "875,1000"}
GUILD, OTHER = "1", "2"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "home")


@pytest.fixture
def checkpoints(store: FolderStore) -> Loras:
    return Loras(store)


def add(
    checkpoints: Loras,
    file: Path,
    model: str = T2V22,
    expert: ExpertName | None = None,
    name: str | None = None,
) -> StoredLora:
    return checkpoints.add(GUILD, file, model=model, expert=expert, name=name, by="7")


@pytest.fixture
def high(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "Old High.safetensors", tensors(widths(T2V22)), HIGH_RANGE)


def test_a_file_is_bound_to_the_expert_that_its_header_names(
    checkpoints: Loras, high: Path
) -> None:
    record = add(checkpoints, high)

    assert record.name == "old-high"
    assert (record.model, record.expert, record.engine) == (T2V22, "high", "rehearsal")
    assert (record.rank, record.alpha, record.modules) == (4, 4.0, 20)
    assert checkpoints.find(GUILD, "old-high") == record
    assert checkpoints.file(GUILD, "old-high").read_bytes() == high.read_bytes()


def test_what_the_header_does_not_say_is_taken_on_word_and_said(
    checkpoints: Loras, tmp_path: Path
) -> None:
    silent = write_adapter(tmp_path / "silent.safetensors", tensors(widths(T2V22)))

    with pytest.raises(RequestError, match="does not say which expert") as refused:
        add(checkpoints, silent)
    record = add(checkpoints, silent, expert="high")

    assert "high or low" in refused.value.fix
    text = checkpoint_card(record).text
    assert "does not say which expert it was trained for. You said high." in text
    assert "taken as Wan 2.2 T2V 14B" in text


def test_a_file_that_says_everything_leaves_nothing_on_word(
    checkpoints: Loras, tmp_path: Path
) -> None:
    metadata = {"lorabot.task": "t2v-A14B", "lorabot.expert": "low"}
    ours = write_adapter(tmp_path / "ours.safetensors", tensors(widths(T2V22)), metadata)

    record = add(checkpoints, ours)

    assert (record.expert, record.unproven) == ("low", ())
    assert "word" not in checkpoint_card(record).text


@pytest.mark.parametrize(("name", "modules"), [("wan21-t2v-1-3b", 300), ("wan21-i2v-480p", 480)])
def test_a_lora_of_the_published_weights_is_taken(
    name: str, modules: int, checkpoints: Loras, tmp_path: Path
) -> None:
    real = write_adapter(tmp_path / "real.safetensors", tensors(widths(name, "musubi"), rank=1))

    record = add(checkpoints, real, name)

    assert (record.engine, record.rank, record.modules) == ("musubi", 1, modules)


def test_a_file_of_another_trainer_is_converted_without_a_change(
    checkpoints: Loras, tmp_path: Path
) -> None:
    peft = tensors(widths(T2V22), style="peft")

    record = add(checkpoints, write_adapter(tmp_path / "peft.safetensors", peft), expert="low")

    stored = load_file(checkpoints.file(GUILD, "peft"))
    assert record.is_converted
    assert "converted" in checkpoint_card(record).text
    assert len(stored) == 60
    assert all(key.startswith("lora_unet_blocks_") for key in stored)
    down = "diffusion_model.blocks.1.ffn.2.lora_A.weight"
    assert np.array_equal(stored["lora_unet_blocks_1_ffn_2.lora_down.weight"], peft[down])


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"PK\x03\x04" + bytes(99), "a.safetensors", "pickle"),
        (b"\x80\x02" + bytes(99), "a.safetensors", "pickle"),
        (b"anything", "a.pt", "pickle"),
        (b"anything", "a.ckpt", "pickle"),
        (b"", "a.safetensors", "not a complete safetensors"),
        (b"\xff" * 64, "a.safetensors", "not a complete safetensors"),
        (b"\x02" + bytes(7) + b"{}", "a.safetensors", "no tensors"),
        (
            b'\x3d\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,900000]}}  ',
            "a.safetensors",
            "not a complete safetensors",
        ),
    ],
)
def test_what_is_no_lora_is_refused_and_nothing_stored(
    content: bytes, name: str, said: str, checkpoints: Loras, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(AdapterError, match=said) as refused:
        add(checkpoints, path)

    assert refused.value.fix
    assert checkpoints.names(GUILD) == []


@pytest.mark.parametrize(
    ("model", "expert", "said"),
    [
        ("wan22-t2v-vanilla", "low", "timesteps 875 to 1000"),
        ("wan22-i2v-vanilla", "high", "timesteps 875 to 1000"),
        ("wan21-t2v-14b", None, "timesteps 875 to 1000"),
        ("wan21-i2v-720p", None, "24 .4 missing"),
        ("wan21-t2v-14b", "high", "no expert called high"),
        ("wan23", None, "no model called"),
    ],
)
def test_a_file_of_another_model_or_expert_is_refused_and_nothing_stored(
    model: str,
    expert: ExpertName | None,
    said: str,
    checkpoints: Loras,
    store: FolderStore,
    high: Path,
) -> None:
    with pytest.raises(TrainingError, match=said):
        add(checkpoints, high, model, expert)

    assert checkpoints.names(GUILD) == []
    assert store.names(f"guilds/{GUILD}/.incoming") == []


def test_nan_is_refused(checkpoints: Loras, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths(T2V22), up=float("nan")))

    with pytest.raises(AdapterError, match="not numbers"):
        add(checkpoints, path, expert="high")


def test_names_follow_the_grammar_and_are_taken_once(checkpoints: Loras, high: Path) -> None:
    add(checkpoints, high, name="mine")

    for name, said in (("mine", "already"), ("../x", "cannot be the name"), ("A", "cannot be")):
        with pytest.raises(RequestError, match=said):
            add(checkpoints, high, name=name)


def test_a_guild_sees_and_removes_its_own_only(checkpoints: Loras, high: Path) -> None:
    add(checkpoints, high, name="mine")

    assert checkpoints.all(OTHER) == []
    for act in (checkpoints.find, checkpoints.remove):
        with pytest.raises(NotFoundError, match="no checkpoint called 'mine'"):
            act(OTHER, "mine")
    assert checkpoints.remove(GUILD, "mine").name == "mine"
    with pytest.raises(NotFoundError, match="None is stored yet"):
        checkpoints.find(GUILD, "mine")


def test_the_list_says_how_larger_files_come_in(checkpoints: Loras, high: Path) -> None:
    record = add(checkpoints, high)

    for found in ([], [record]):
        assert f"lorabot checkpoint add FILE --model … --server {GUILD}" in (
            checkpoint_list(found, GUILD).text
        )
    assert "**old-high** · wan22-t2v-vanilla, high expert · rank 4" in (
        checkpoint_list([record], GUILD).text
    )
    assert usage(record) == f"/train model:{T2V22} resume-from:high=old-high rank:high=4"
