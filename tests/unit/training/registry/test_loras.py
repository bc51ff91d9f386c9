"""LoRA files to start from: which are accepted, bound and refused; refused ones leave nothing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import (
    load_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from bot.messages.loras import lora_card, lora_list, terminal_usage, usage
from storage.local.store import FolderStore
from tests.adapters import SPELLINGS, respelled, tensors, widths, write_adapter
from tests.damage import DAMAGE
from training import store_keys
from training.errors import AdapterError, NotFoundError, RequestError, TrainingError
from training.records import copy_of
from training.registry.loras import Loras, StoredLora
from training.remedies import RemoveLora
from training.vocabulary import ExpertName

T2V22, HIGH_RANGE = "wan22-t2v-vanilla", {"modelspec.timestep_range": "875,1000"}
GUILD, OTHER = "1", "2"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "home")


@pytest.fixture
def loras(store: FolderStore) -> Loras:
    return Loras(store)


def add(
    loras: Loras,
    file: Path,
    model: str = T2V22,
    expert: ExpertName | None = None,
    name: str | None = None,
) -> StoredLora:
    return loras.add(GUILD, file, model=model, expert=expert, name=name, by="7")


@pytest.fixture
def high(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "Old High.safetensors", tensors(widths(T2V22)), HIGH_RANGE)


def test_a_file_is_bound_to_the_expert_that_its_header_names(loras: Loras, high: Path) -> None:
    record = add(loras, high)

    assert record.name == "old-high"
    assert (record.model, record.expert, record.engine) == (T2V22, "high", "rehearsal")
    assert (record.rank, record.alpha, record.modules) == (4, 4.0, 20)
    assert loras.find(GUILD, "old-high") == record
    assert loras.file(GUILD, "old-high").read_bytes() == high.read_bytes()


def test_facts_missing_from_the_header_are_taken_from_the_user_and_reported(
    loras: Loras, tmp_path: Path
) -> None:
    silent = write_adapter(tmp_path / "silent.safetensors", tensors(widths(T2V22)))

    with pytest.raises(RequestError, match="does not say which expert") as refused:
        add(loras, silent)
    record = add(loras, silent, expert="high")

    assert "high or low" in refused.value.fix
    text = lora_card(record).text
    assert "does not say which expert the file was trained for. You said high." in text
    assert "(assumed: Wan 2.2 T2V 14B)" in text


def test_a_complete_header_leaves_nothing_unproven(loras: Loras, tmp_path: Path) -> None:
    metadata = {"lorabot.task": "t2v-A14B", "lorabot.expert": "low"}
    ours = write_adapter(tmp_path / "ours.safetensors", tensors(widths(T2V22)), metadata)

    record = add(loras, ours)

    assert (record.expert, record.unproven) == ("low", ())
    assert "word" not in lora_card(record).text


@pytest.mark.parametrize(("name", "modules"), [("wan21-t2v-1-3b", 300), ("wan21-i2v-480p", 480)])
def test_a_lora_of_the_published_weights_is_accepted(
    name: str, modules: int, loras: Loras, tmp_path: Path
) -> None:
    real = write_adapter(tmp_path / "real.safetensors", tensors(widths(name, "musubi"), rank=1))

    record = add(loras, real, name)

    assert (record.engine, record.rank, record.modules) == ("musubi", 1, modules)


@pytest.mark.parametrize("spelling", sorted(SPELLINGS.keys() - {"musubi"}))
def test_a_file_of_another_trainer_is_converted_without_a_change(
    spelling: str, loras: Loras, tmp_path: Path
) -> None:
    musubi = tensors(widths(T2V22))
    other = respelled(musubi, SPELLINGS[spelling])

    record = add(loras, write_adapter(tmp_path / "other.safetensors", other), expert="low")

    stored = load_file(loras.file(GUILD, "other"))
    assert record.is_converted
    assert "renamed from another trainer's format" in lora_card(record).text
    assert stored.keys() == musubi.keys()
    assert all(np.array_equal(stored[key], musubi[key]) for key in musubi)


def test_a_diffusers_lora_of_published_weights_is_converted(loras: Loras, tmp_path: Path) -> None:
    real = respelled(tensors(widths("wan21-t2v-1-3b", "musubi"), rank=1), SPELLINGS["diffusers"])
    assert "transformer.blocks.0.attn1.to_q.lora_A.weight" in real

    record = add(loras, write_adapter(tmp_path / "a.safetensors", real), "wan21-t2v-1-3b")

    assert (record.engine, record.modules, record.is_converted) == ("musubi", 300, True)


def test_a_name_that_contradicts_the_expert_is_remarked_on(loras: Loras, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "person_high_noise.safetensors", tensors(widths(T2V22)))

    with pytest.raises(RequestError) as unsaid:
        add(loras, path)
    record = add(loras, path, expert="low")

    assert "The file's name says high." in unsaid.value.fix
    text = lora_card(record).text
    assert "The file's name says high noise, but the low expert uses the file." in text
    assert loras.find(GUILD, record.name).remarks == record.remarks


def test_a_lightning_lora_used_for_vanilla_is_remarked_on(loras: Loras, tmp_path: Path) -> None:
    metadata = {"lorabot.expert": "low", "lorabot.variant": "lightning"}
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths(T2V22)), metadata)

    assert "speed LoRA merged in" in lora_card(add(loras, path)).text
    fitting = add(loras, path, "wan22-t2v-lightning", name="b")
    assert fitting.remarks == ()


def test_the_alpha_of_a_peft_file_without_its_config_is_unproven(
    loras: Loras, tmp_path: Path
) -> None:
    peft = respelled(tensors(widths(T2V22)), SPELLINGS["peft"])

    record = add(loras, write_adapter(tmp_path / "a.safetensors", peft), expert="low")

    assert "which alpha the file was trained with (assumed: 4, its rank" in lora_card(record).text


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
def test_a_file_that_is_not_a_lora_is_refused_and_nothing_stored(
    content: bytes, name: str, said: str, loras: Loras, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(AdapterError, match=said) as refused:
        add(loras, path)

    assert refused.value.fix
    assert loras.names(GUILD) == []


@pytest.mark.parametrize(
    ("model", "expert", "said"),
    [
        ("wan22-t2v-vanilla", "low", "timesteps 875 to 1000"),
        ("wan22-i2v-vanilla", "high", "timesteps 875 to 1000"),
        ("wan21-t2v-14b", None, "timesteps 875 to 1000"),
        ("wan21-i2v-720p", None, "20 of 24 modules .*no image attention, as in T2V"),
        ("wan21-t2v-14b", "high", "no expert called high"),
        ("wan23", None, "no model called"),
    ],
)
def test_a_file_of_another_model_or_expert_is_refused_and_nothing_stored(
    model: str,
    expert: ExpertName | None,
    said: str,
    loras: Loras,
    store: FolderStore,
    high: Path,
) -> None:
    with pytest.raises(TrainingError, match=said):
        add(loras, high, model, expert)

    assert loras.names(GUILD) == []
    assert store.names(f"guilds/{GUILD}/.incoming") == []


def test_nan_is_refused(loras: Loras, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths(T2V22), up=float("nan")))

    with pytest.raises(AdapterError, match="NaN or infinite"):
        add(loras, path, expert="high")


def test_names_follow_the_grammar_and_are_unique(loras: Loras, high: Path) -> None:
    add(loras, high, name="mine")

    for name, said in (
        ("mine", "already"),
        ("../x", "is not a valid name"),
        ("A", "is not a valid"),
    ):
        with pytest.raises(RequestError, match=said):
            add(loras, high, name=name)


def test_a_guild_sees_only_its_own_files(loras: Loras, high: Path) -> None:
    add(loras, high, name="mine")

    assert loras.all(OTHER) == ([], [])
    with pytest.raises(NotFoundError, match="no checkpoint called 'mine'"):
        loras.find(OTHER, "mine")
    loras.delete(GUILD, "mine")
    with pytest.raises(NotFoundError, match="No checkpoint is stored yet"):
        loras.find(GUILD, "mine")


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_and_can_be_replaced(
    store: FolderStore, loras: Loras, high: Path, damage: Callable[[Path], None]
) -> None:
    add(loras, high)
    damage(loras.file(GUILD, "old-high"))

    with pytest.raises(AdapterError, match="checkpoint old-high is missing or damaged") as refused:
        loras.file(GUILD, "old-high")

    assert refused.value.fix == "Remove the checkpoint, then add its file again."
    loras.delete(GUILD, loras.folder(GUILD, "old-high"))
    add(loras, high)
    assert loras.file(GUILD, "old-high").read_bytes() == high.read_bytes()


def test_a_damaged_record_hides_no_other_file(store: FolderStore, loras: Loras, high: Path) -> None:
    whole = add(loras, high, name="whole")
    add(loras, high, name="broken")
    folder = store_keys.lora(GUILD, loras.folder(GUILD, "broken"))
    for record in (store_keys.MANIFEST, copy_of(store_keys.MANIFEST)):
        store.write(f"{folder}/{record}", b'{"name": "bro')

    with pytest.raises(AdapterError, match="record of the checkpoint broken is missing or damaged"):
        loras.find(GUILD, "broken")

    found, (error,) = loras.all(GUILD)
    assert found == [whole]
    assert error.remedy == RemoveLora(name="broken")


def test_the_list_says_how_to_add_larger_files(loras: Loras, high: Path) -> None:
    record = add(loras, high)

    for found in ([], [record]):
        assert f"lorabot checkpoint add FILE --model … --server {GUILD}" in (
            lora_list(found, GUILD).text
        )
    assert "**old-high** · wan22-t2v-vanilla, high expert · rank 4" in (
        lora_list([record], GUILD).text
    )
    assert usage(record) == f"/train model:{T2V22} resume-from:high=old-high rank:high=4"
    assert terminal_usage(record) == (
        f"lorabot train --model {T2V22} --dataset NAME --resume-from high=old-high --rank high=4"
    )


_ADD_WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from storage.local.store import FolderStore
from training.registry.loras import Loras

loras = Loras(FolderStore(Path(sys.argv[1])))
loras.add("1", Path(sys.argv[2]), model="wan21-t2v-1-3b", by="7", name="small")
status = Path("/proc/self/status").read_text().split("VmData:")[1]
limit = int(status.split()[0]) * 1024 + int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
loras.add("1", Path(sys.argv[3]), model="wan21-t2v-1-3b", by="7", name="large")
"""


@pytest.mark.parametrize("spelling", ["musubi", "diffusers"])
def test_adding_a_file_takes_less_memory_than_the_file(tmp_path: Path, spelling: str) -> None:
    modules = widths("wan21-t2v-1-3b", "musubi")
    small, large = (
        write_adapter(
            tmp_path / f"{rank}.safetensors",
            respelled(tensors(modules, rank=rank), SPELLINGS[spelling]),
        )
        for rank in (1, 32)
    )
    most_bytes = large.stat().st_size // 3

    command = [sys.executable, "-c", _ADD_WITH_LITTLE_MEMORY]
    arguments = [str(tmp_path / "home"), str(small), str(large), str(most_bytes)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
