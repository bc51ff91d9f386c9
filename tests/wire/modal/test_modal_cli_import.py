"""`lorabot import-volume` imports from the guide's Volumes and leaves them unchanged."""

import hashlib
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.adapters import tensors, widths, write_adapter
from tests.media import guide_files
from tests.wire.modal.command_line import ROOT, Result, lorabot
from tests.wire.modal.loopback.api import Loopback

ON_MODAL = ("--backend", "modal", "--app", "team")
NAMES = {"datasets", "kohya-volume"}
# As the guide has it; the dataset's own folder once more below `datasets`.
TOML = """
[general]
caption_extension = ".txt"

[[datasets]]
image_directory = "/datasets/datasets/annika/images"
cache_directory = "/datasets/datasets/annika/images/cache"
resolution = [720, 1280]
"""
KNOWN = {"ss_sd_model_name": "wan2.1_t2v_1.3B_bf16.safetensors"}


@pytest.fixture(scope="module")
def deployed(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Loopback:
    """The stages, and beside them what the guide leaves in a workspace."""
    shared.create_secret("my-huggingface-secret", {"HF_TOKEN": "hf_x"})
    names = {"LORABOT_MODAL_APP": "team", "LORABOT_ENGINE": "rehearsal"}
    shared.deploy("module:training.modal_app", names, cwd=ROOT)
    folder = tmp_path_factory.mktemp("loras")
    lora = tensors(widths("wan21-t2v-1-3b"))
    known = write_adapter(folder / "known.safetensors", lora, KNOWN).read_bytes()
    silent = write_adapter(folder / "silent.safetensors", lora).read_bytes()
    media = {f"/datasets/annika/{k}": v for k, v in guide_files(images=2, clips=1).items()}
    _fill(
        "datasets",
        {
            **media,
            "/datasets/annika/images/cache/000.safetensors": b"a cache",
            "/datasets/broken/images/000.png": b"no picture",
            "/datasets/broken/images/000.txt": "a caption",
            "/wan21-dataset-config-modal.toml": TOML,
        },
    )
    _fill(
        "kohya-volume",
        {
            "/outputs/anna-wan21/anna-wan21-000005.safetensors": known,
            "/outputs/anna-wan21/anna-wan21.safetensors": silent,
            "/outputs/anna-wan21/anna-wan21-state/model.safetensors": b"a training state",
            "/resume_checkpoints/old.safetensors": known,
            "/hf/model.safetensors": b"weights",
        },
    )
    return shared


@pytest.fixture
def heard(deployed: Loopback) -> Iterator[list[tuple[str, Any]]]:
    """Each RPC that concerns a Volume, while a test runs."""
    found: list[tuple[str, Any]] = []
    router = deployed.plane.router
    before = router.heard
    router.heard = lambda name, request: found.append((name, request))
    yield found
    router.heard = before


@pytest.mark.usefixtures("deployed")
def test_importable_items_are_listed() -> None:
    listed = lorabot("import-volume", "--list", "--json", *ON_MODAL).json()

    assert {(row["name"], row["kind"], row["path"]) for row in listed} == {
        ("annika", "dataset", "/datasets/annika"),
        ("broken", "dataset", "/datasets/broken"),
        ("anna-wan21-000005", "checkpoint", "/outputs/anna-wan21/anna-wan21-000005.safetensors"),
        ("anna-wan21", "checkpoint", "/outputs/anna-wan21/anna-wan21.safetensors"),
        ("old", "checkpoint", "/resume_checkpoints/old.safetensors"),
    }
    assert next(row["media"] for row in listed if row["name"] == "annika") == 3


def test_all_usable_items_are_imported_and_reported_one_by_one(
    deployed: Loopback, heard: list[tuple[str, Any]]
) -> None:
    before = _contents(deployed)

    first = lorabot("import-volume", "--all", "--json", *ON_MODAL)
    again = lorabot("import-volume", "--all", "--json", *ON_MODAL)

    assert first.code == again.code == 1
    assert "2 of 5 were not imported" in first.err
    assert _states(first) == {
        "annika": "imported",
        "broken": "not imported",
        "anna-wan21-000005": "imported",
        "anna-wan21": "not imported",
        "old": "imported",
    }
    assert _states(again) == {
        name: state.replace("imported", "already there") if "not" not in state else state
        for name, state in _states(first).items()
    }
    told = {outcome["name"]: outcome for outcome in first.json()}
    assert "annika@1: 2 images and 1 clip" in told["annika"]["text"]
    assert "as its header says" in told["old"]["text"]
    assert "--model" in told["anna-wan21"]["fix"]
    assert _contents(deployed) == before
    assert _writes(deployed, heard) == set()


def test_the_user_names_a_model_that_no_header_names(deployed: Loopback) -> None:
    model = ("--model", "wan21-t2v-1-3b")

    result = lorabot("import-volume", "anna-wan21", *model, "--server", "77", *ON_MODAL)

    assert result.code == 0
    assert "as you said" in result.out
    listed = lorabot("checkpoint", "list", "--server", "77", "--json", *ON_MODAL).json()
    assert [record["name"] for record in listed] == ["anna-wan21"]


def test_importing_to_this_machine_writes_nothing_on_modal(
    tmp_path: Path, heard: list[tuple[str, Any]]
) -> None:
    here = ("--backend", "local", "--home", str(tmp_path))

    result = lorabot("import-volume", "annika", "old", *here)

    assert result.code == 0
    folder = tmp_path / "guilds/local"
    with zipfile.ZipFile(folder / "datasets/annika/1/original.zip") as archive:
        names = set(archive.namelist())
        assert archive.read("wan21-dataset-config-modal.toml").decode() == TOML
    assert names == {*guide_files(images=2, clips=1), "wan21-dataset-config-modal.toml"}
    assert (folder / "checkpoints/old/adapter.safetensors").is_file()
    assert not {name for name, _ in heard} & {"VolumePutFiles", "VolumeRemoveFile", "DictUpdate"}


@pytest.mark.usefixtures("deployed")
def test_an_unknown_name_is_refused_before_anything_is_imported() -> None:
    result = lorabot("import-volume", "annika", "berta", *ON_MODAL)

    assert result.code == 1
    assert "nothing called berta" in result.err
    assert "annika" in result.err


@pytest.mark.usefixtures("deployed")
def test_a_missing_volume_is_named_and_not_created(shared: Loopback) -> None:
    names = ("--datasets", "sets", "--checkpoints", "kohya")

    result = lorabot("import-volume", "--list", *names, *ON_MODAL)

    assert result.code == 1
    assert "no Volume called sets" in result.err
    assert not {"sets", "kohya"} & set(shared.call(lambda: shared.plane.names.of_kind("Volume")))


@pytest.mark.parametrize("arguments", [(), ("--all", "--list"), ("annika", "--all")])
def test_items_to_import_must_be_named(arguments: tuple[str, ...]) -> None:
    result = lorabot("import-volume", *arguments)

    assert result.code == 2
    assert "--list" in result.err


def _fill(name: str, files: dict[str, bytes | str]) -> None:
    volume = modal.Volume.from_name(name, create_if_missing=True)
    with volume.batch_upload() as batch:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            batch.put_file(BytesIO(data), path)


def _states(result: Result) -> dict[str, str]:
    return {outcome["name"]: outcome["status"] for outcome in result.json()}


def _contents(loopback: Loopback) -> dict[str, str]:
    return {
        f"{name}/{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for name in NAMES
        for folder in (loopback.committed(name),)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _writes(loopback: Loopback, heard: list[tuple[str, Any]]) -> set[str]:
    """Return the RPCs that were asked for one of the guide's Volumes and do more than read."""
    ids = loopback.call(lambda: loopback.plane.names.of_kind("Volume"))
    own = {ids[name] for name in NAMES}
    reads = {"VolumeListFiles", "VolumeGetFile2"}
    asked = {name for name, request in heard if getattr(request, "volume_id", None) in own}
    assert reads <= asked
    made = {
        name
        for name, request in heard
        if getattr(request, "deployment_name", None) in NAMES and request.object_creation_type
    }
    return (asked - reads) | made
