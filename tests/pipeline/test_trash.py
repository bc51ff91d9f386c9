"""What is removed can be restored for 7 days, whatever happened meanwhile; then it is deleted."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.adapters import tensors, widths, write_adapter
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training import store_keys
from training.errors import NotFoundError, RequestError, TrainingError
from training.operations.clean_up import clean_up
from training.operations.run_drafts import Requester
from training.operations.trash.emptying import Freed, TrashBin
from training.operations.trash.restoring import Restores
from training.pipeline.advance import advance
from training.pipeline.runtime import Runtime
from training.registry.trash import Removal
from training.runs.spec import RunSpec
from training.store_keys import TrashKind

MODEL = "wan21-t2v-1-3b"
OTHER = "2"
BY = "8"


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a home with three versions of the dataset annika."""
    folder = tmp_path_factory.mktemp("stocked")
    stages = Stages(folder)
    for images in (1, 2, 3):
        stages.upload(guide_files(images=images, clips=0))
    return folder


@pytest.fixture
def stages(stocked: Path, tmp_path: Path) -> Stages:
    """A home with three versions of the dataset annika."""
    shutil.copytree(stocked, tmp_path, dirs_exist_ok=True)
    return Stages(tmp_path)


def numbers(stages: Stages) -> list[int]:
    return [version.number for version in stages.local.datasets.versions(GUILD, "annika")]


def after(stages: Stages, days: float) -> Runtime:
    """Return the runtime as it is so many days from now."""
    runtime = stages.local.runtime
    return replace(runtime, clock=lambda: runtime.clock() + timedelta(days=days))


def restores(stages: Stages, days: float = 0) -> Restores:
    return Restores(after(stages, days), stages.local.datasets, stages.local.loras)


def restore(
    stages: Stages, kind: TrashKind, wanted: str, *, guild: str = GUILD, days: float = 0
) -> tuple[str, ...]:
    found = restores(stages, days)
    return found.restore(found.find(guild, kind, wanted)).names


def remove_dataset(stages: Stages, reference: str) -> Removal:
    return stages.local.dataset_removals.remove(GUILD, reference, by=BY)


def ended(stages: Stages) -> RunSpec:
    spec = stages.begin()
    stages.local.runs.cancel(GUILD, spec.name, by="7")
    return spec


def add_lora(stages: Stages, folder: Path, rank: int = 4, *, by: str = "7") -> int:
    """Add a LoRA called `old` and return its rank."""
    file = write_adapter(folder / "old.safetensors", tensors(widths(MODEL), rank=rank))
    return stages.local.loras.add(GUILD, file, model=MODEL, by=by).rank


def test_a_whole_dataset_and_single_versions_come_back(stages: Stages) -> None:
    remove_dataset(stages, "annika@2")
    removal = remove_dataset(stages, "annika")

    gone = stages.local.datasets.names(GUILD)
    one = restore(stages, "datasets", "annika@3")
    after_one = numbers(stages)
    rest = restore(stages, "datasets", "annika")

    assert removal.items == ("annika@1", "annika@3")
    assert gone == []
    assert (one, after_one) == (("annika@3",), [3])
    assert set(rest) == {"annika@1", "annika@2"}
    assert numbers(stages) == [1, 2, 3]
    assert stages.local.datasets.report(GUILD, stages.local.datasets.find(GUILD, "annika@2"))


def test_what_was_removed_says_until_when_it_can_be_restored(stages: Stages) -> None:
    removal = remove_dataset(stages, "annika")

    for reference in ("annika", "annika@2"):
        with pytest.raises(NotFoundError, match=f"{reference} was removed on") as refusal:
            stages.local.datasets.find(GUILD, reference)
        assert f"until {removal.until:%Y-%m-%d %H:%M} UTC" in refusal.value.fix
    with pytest.raises(NotFoundError, match="no dataset called"):
        stages.local.datasets.find(OTHER, "annika")


def test_a_name_used_again_takes_new_numbers_and_the_old_versions_come_back(
    stages: Stages,
) -> None:
    remove_dataset(stages, "annika")
    stages.upload(guide_files(images=3, clips=0))

    new = numbers(stages)
    restore(stages, "datasets", "annika")

    assert new == [4]
    assert numbers(stages) == [1, 2, 3, 4]


def test_the_owner_of_a_removed_dataset_keeps_the_name(stages: Stages) -> None:
    before = stages.local.datasets.owner(GUILD, "annika")

    remove_dataset(stages, "annika")

    assert stages.local.datasets.owner(GUILD, "annika") == before == "7"


def test_after_7_days_nothing_is_restored_and_all_is_deleted(stages: Stages) -> None:
    run = ended(stages)
    removals = [
        remove_dataset(stages, "annika@2"),
        stages.local.run_removals.remove(GUILD, run.name, by=BY).removal,
    ]
    prepared = store_keys.prepared(GUILD, stages.local.datasets.find(GUILD, "annika").version)
    held = TrashBin(stages.local.runtime).held(GUILD)

    early = clean_up(after(stages, 6.9))
    for removal in removals:
        for wanted in (removal.id, removal.items[0]):
            with pytest.raises(NotFoundError):
                restore(stages, removal.kind, wanted, days=7.1)
    late, again = clean_up(after(stages, 7.1)), clean_up(after(stages, 7.2))

    assert early.trash == again.trash == {}
    assert held.files > 0
    assert late.trash == {GUILD: held}
    assert TrashBin(stages.local.runtime).held(GUILD) == Freed()
    home = stages.local.home / "guilds" / GUILD
    assert not (home / "datasets/annika/2").exists()
    assert not (home / "runs" / run.name).exists()
    assert not (stages.local.home / prepared).exists()
    assert numbers(stages) == [1, 3]
    with pytest.raises(NotFoundError, match="could be restored until"):
        restore(stages, "runs", removals[1].id, days=7.1)


def test_the_repaired_copy_goes_with_the_last_version_that_has_it(stages: Stages) -> None:
    spec = stages.start()
    stages.local.runs.cancel(GUILD, spec.name, by="7")
    prepared = stages.local.home / store_keys.prepared(GUILD, spec.dataset.version)
    remove_dataset(stages, "annika@3")
    stages.upload(guide_files(images=3, clips=0))

    clean_up(after(stages, 8))
    shared = prepared.exists()
    remove_dataset(stages, "annika@4")
    clean_up(after(stages, 16))

    assert spec.dataset.number == 3
    assert shared
    assert not prepared.exists()


def test_numbers_of_deleted_versions_are_not_used_again(stages: Stages) -> None:
    remove_dataset(stages, "annika")
    clean_up(after(stages, 8))

    stages.upload(guide_files(images=1, clips=0))

    assert numbers(stages) == [4]


def test_a_dataset_that_an_open_run_reads_is_neither_removed_nor_deleted(stages: Stages) -> None:
    spec = stages.begin()
    with pytest.raises(RequestError, match=f"The run {spec.name} is reading annika@3"):
        remove_dataset(stages, "annika")
    # A run that starts at the moment of the removal is not seen by it.
    stages.local.runs.cancel(GUILD, spec.name, by="7")
    remove_dataset(stages, "annika")
    stages.local.runtime.store.write(spec.keys.open, b"")

    clean_up(after(stages, 8))
    kept = (stages.local.home / store_keys.dataset(GUILD, "annika", 3)).exists()
    advance(stages.local.runtime, GUILD, spec.name)
    clean_up(after(stages, 8))

    assert kept
    assert not (stages.local.home / store_keys.dataset(GUILD, "annika", 3)).exists()


def test_a_removed_run_is_nowhere_until_it_is_restored(stages: Stages) -> None:
    spec = ended(stages)
    local, requester = stages.local, Requester(guild=GUILD, by="7")
    ways: list[Callable[[], object]] = [
        lambda: local.runs.view(GUILD, spec.name),
        lambda: local.runs.cancel(GUILD, spec.name, by="7"),
        lambda: local.runs.resume(spec.name, requester),
        lambda: local.runs.try_again(spec.name, requester),
        lambda: local.runs.train_on_clips(spec.name, requester),
        lambda: local.run_removals.remove(GUILD, spec.name, by=BY),
    ]

    local.run_removals.remove(GUILD, spec.name, by=BY)
    for way in ways:
        with pytest.raises(NotFoundError, match=f"{spec.name} was removed on"):
            way()
    listed = local.runs.names(GUILD), local.runs.summaries(GUILD)
    restore(stages, "runs", spec.name)

    assert listed == ([], [])
    assert [run.state for run in local.runs.summaries(GUILD)] == ["cancelled"]
    assert local.runs.resume(spec.name, requester).continues == spec.name


def test_a_run_is_removed_only_after_its_end(stages: Stages) -> None:
    spec = stages.begin()

    with pytest.raises(RequestError, match="has not ended"):
        stages.local.run_removals.remove(GUILD, spec.name, by=BY)

    assert stages.local.runs.names(GUILD) == [spec.name]


def test_the_name_of_a_removed_run_is_not_used_again(stages: Stages) -> None:
    first = ended(stages)
    stages.local.run_removals.remove(GUILD, first.name, by=BY)
    second = ended(stages)
    clean_up(after(stages, 8))
    third = ended(stages)

    assert [second.name, third.name] == [f"{first.name}-2", f"{first.name}-3"]


def test_the_states_of_a_removed_run_stay_while_another_continues_it(stages: Stages) -> None:
    first = ended(stages)
    second = stages.local.runs.resume(first.name, Requester(guild=GUILD, by="7"))
    stages.local.run_removals.remove(GUILD, first.name, by=BY)

    clean_up(after(stages, 8))
    kept = stages.local.runtime.log(GUILD, first.name).spec()
    stages.local.runs.cancel(GUILD, second.name, by="7")
    clean_up(after(stages, 8))

    assert kept == first
    with pytest.raises(NotFoundError):
        stages.local.runtime.log(GUILD, first.name).spec()


def test_a_lora_comes_back_and_its_name_may_be_used_meanwhile(
    stages: Stages, tmp_path: Path
) -> None:
    loras, removals = stages.local.loras, stages.local.lora_removals
    first = add_lora(stages, tmp_path)
    removals.remove(GUILD, "old", by=BY)
    gone = loras.names(GUILD)
    second = add_lora(stages, tmp_path, 8)

    with pytest.raises(RequestError, match="another checkpoint called 'old' now"):
        restore(stages, "checkpoints", "old")
    during = loras.find(GUILD, "old").rank
    with pytest.raises(RequestError, match="already a checkpoint"):
        add_lora(stages, tmp_path)
    swapped = removals.remove(GUILD, "old", by=BY)
    back = restore(stages, "checkpoints", swapped.id)
    removals.remove(GUILD, "old", by=BY)
    clean_up(after(stages, 8))

    assert gone == []
    assert (first, second, during) == (4, 8, 8)
    assert back == ("old",)
    assert loras.names(GUILD) == []
    assert add_lora(stages, tmp_path) == 4


@pytest.mark.parametrize("kind", ["datasets", "checkpoints", "runs"])
def test_of_two_restores_at_once_one_succeeds(
    stages: Stages, tmp_path: Path, kind: TrashKind
) -> None:
    add_lora(stages, tmp_path)
    run = ended(stages)
    removal = {
        "datasets": lambda: remove_dataset(stages, "annika"),
        "checkpoints": lambda: stages.local.lora_removals.remove(GUILD, "old", by=BY),
        "runs": lambda: stages.local.run_removals.remove(GUILD, run.name, by=BY).removal,
    }[kind]()
    found = restores(stages).find(GUILD, kind, removal.id)
    said: list[str] = []

    def again() -> None:
        try:
            said.append(" ".join(restores(stages).restore(found).names))
        except TrainingError as error:
            said.append(str(error))

    threads = [threading.Thread(target=again) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    names = " ".join(found.names)
    assert said.count(names) == 1
    assert all("was removed here in the last 7 days" in text for text in said if text != names)
    assert numbers(stages) == [1, 2, 3]
    assert stages.local.loras.names(GUILD) == ["old"]
    assert stages.local.runs.names(GUILD) == [run.name]


@pytest.mark.parametrize(
    "wanted", ["annika@9", "../annika", "", "0" * 12 + "-" + "0" * 8, "x" * 999]
)
def test_what_is_not_in_the_trash_is_not_restored(stages: Stages, wanted: str) -> None:
    removal = remove_dataset(stages, "annika@1")

    with pytest.raises(NotFoundError):
        restore(stages, "datasets", wanted)
    for kind in ("checkpoints", "runs"):
        with pytest.raises(NotFoundError):
            restore(stages, kind, removal.id)
    for of_another in (removal.id, "annika@1"):
        with pytest.raises(NotFoundError):
            restore(stages, "datasets", of_another, guild=OTHER)
    assert numbers(stages) == [2, 3]


def test_a_removal_killed_before_it_is_complete_removed_nothing(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stages.local.runtime.store

    def killed(key: str, source: Path) -> bool:
        raise KeyboardInterrupt(key, source)

    monkeypatch.setattr(store, "put_tree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_dataset(stages, "annika")

    assert numbers(stages) == [1, 2, 3]


@pytest.mark.parametrize("deletes", [0, 1, 2, 3, 4])
def test_an_emptying_killed_at_any_moment_is_finished_by_the_next(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, deletes: int
) -> None:
    run = ended(stages)
    remove_dataset(stages, "annika@1")
    stages.local.run_removals.remove(GUILD, run.name, by=BY)
    store, left = stages.local.runtime.store, iter(range(deletes))
    delete = store.delete

    def until_killed(key: str) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        delete(key)

    monkeypatch.setattr(store, "delete", until_killed)
    with pytest.raises(KeyboardInterrupt):
        clean_up(after(stages, 8))
    monkeypatch.setattr(store, "delete", delete)
    shown = numbers(stages), stages.local.runs.names(GUILD)
    clean_up(after(stages, 8))

    assert shown == (numbers(stages), stages.local.runs.names(GUILD)) == ([2, 3], [])
    assert TrashBin(stages.local.runtime).held(GUILD) == Freed()
    assert list((stages.local.home / "guilds" / GUILD / "runs").iterdir()) == []
