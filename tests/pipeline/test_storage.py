"""What takes up space is counted once, and removed unless an open run needs it."""

import shutil
from pathlib import Path

import pytest

from tests.adapters import tensors, widths, write_adapter
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from tests.receipts import a_receipt
from training import store_keys
from training.errors import NotFoundError, RequestError
from training.operations.storage import StoredItem
from training.operations.trash.emptying import TrashBin

OTHER, BY = "2", "8"
ADDRESS = "a" * 64


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a home with a dataset that an open run has cached, and a merged base."""
    folder = tmp_path_factory.mktemp("trained")
    stages = Stages(folder)
    stages.upload(guide_files(images=2, clips=0))
    stages.cache(stages.start())
    store = stages.local.runtime.store
    store.write(f"{store_keys.MERGED}/{ADDRESS}/base-merged.safetensors", bytes(1000))
    file = write_adapter(folder / "old.safetensors", tensors(widths("wan21-t2v-1-3b")))
    stages.local.loras.add(GUILD, file, model="wan21-t2v-1-3b", by="7")
    return folder


@pytest.fixture
def stages(trained: Path, tmp_path: Path) -> Stages:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return Stages(tmp_path)


def items(stages: Stages, guild: str = GUILD) -> dict[str, StoredItem]:
    return {item.key: item for item in stages.local.storage.use(guild).items}


def run_name(stages: Stages) -> str:
    (name,) = stages.local.runs.names(GUILD)
    return name


def on_disk(stages: Stages, *folders: str) -> int:
    files = [path for one in folders for path in (stages.local.home / one).rglob("*")]
    return sum(path.stat().st_size for path in files if path.is_file() and not path.is_symlink())


def test_everything_that_takes_up_space_is_listed_largest_first(stages: Stages) -> None:
    use = stages.local.storage.use(GUILD)

    found = {item.key: item.size_bytes for item in use.items}
    home = f"guilds/{GUILD}"
    assert found == {
        "dataset:annika@1": on_disk(stages, f"{home}/datasets/annika/1", f"{home}/prepared"),
        f"run:{run_name(stages)}": on_disk(stages, f"{home}/runs"),
        "checkpoint:old": on_disk(stages, f"{home}/checkpoints"),
        "caches:all": on_disk(stages, f"{home}/caches"),
        f"merged:{ADDRESS}": 1000,
        "weights:all": on_disk(stages, "models"),
    }
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert use.trash.files == 0
    assert items(stages, OTHER).keys() == {f"merged:{ADDRESS}", "weights:all"}


@pytest.mark.parametrize(
    ("lora", "shown"),
    [("high_noise_model.safetensors",) * 2, ("secret-project.safetensors", "a custom LoRA")],
)
def test_a_merge_names_only_published_loras_because_all_servers_see_it(
    stages: Stages, lora: str, shown: str
) -> None:
    receipt = a_receipt(lora=lora).to_json().encode()
    stages.local.runtime.store.write(store_keys.merged_receipt(ADDRESS), receipt)

    assert items(stages, OTHER)[f"merged:{ADDRESS}"].detail == f"base.safetensors with {shown}"


def test_what_an_open_run_needs_is_refused(stages: Stages) -> None:
    found = items(stages)
    needed = [found[key] for key in found if not key.startswith("checkpoint:")]

    for item in needed:
        with pytest.raises(RequestError):
            stages.local.storage.require_unused(GUILD, item)
        with pytest.raises(RequestError):
            stages.local.storage.remove(GUILD, item, by=BY)

    assert items(stages) == found
    merged = next(item for item in needed if item.kind == "merged")
    with pytest.raises(RequestError, match=r"^A run is in progress"):
        stages.local.storage.require_unused(OTHER, merged)


def test_after_its_end_all_is_removed_and_what_can_be_restored_is_in_the_trash(
    stages: Stages,
) -> None:
    stages.local.runs.cancel(GUILD, run_name(stages), by="7")
    found = items(stages)
    storage = stages.local.storage

    removals = [
        storage.remove(GUILD, item, by=BY) for item in found.values() if item.kind != "weights"
    ]

    assert {one.kind for one in removals if one} == {"datasets", "checkpoints", "runs"}
    use = storage.use(GUILD)
    assert [item.key for item in use.items] == ["weights:all"]
    assert use.trash_until == max(one.until for one in removals if one)
    assert use.trash == TrashBin(stages.local.runtime).held(GUILD)
    restored = stages.local.restores
    restored.restore(restored.find(GUILD, "datasets", "annika"))
    assert items(stages)["dataset:annika@1"] == found["dataset:annika@1"]


def test_a_newer_version_is_not_removed_by_an_older_question(stages: Stages) -> None:
    stages.local.runs.cancel(GUILD, run_name(stages), by="7")
    asked = items(stages)["dataset:annika@1"]
    stages.upload(guide_files(images=1, clips=0))

    with pytest.raises(RequestError, match="annika has changed"):
        stages.local.storage.remove(GUILD, asked, by=BY)


def test_a_wrong_key_is_answered_with_the_nearest(stages: Stages) -> None:
    with pytest.raises(NotFoundError) as refusal:
        stages.local.storage.find(GUILD, "dataset:anika@1")

    assert refusal.value.fix == "Did you mean dataset:annika@1?"
