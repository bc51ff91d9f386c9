"""All that an operator on Windows does towards Modal; one process runs all commands."""

from io import BytesIO
from pathlib import Path

import modal
import pytest

from tests.adapters import tensors, widths, write_adapter
from tests.as_windows import Ended, as_windows
from tests.media import guide_files, write_zip
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.sandbox_thread import SandboxThread

pytestmark = pytest.mark.slow
APP = ("--app", "team")
ON_MODAL = ("--backend", "modal", *APP)
KNOWN = {"ss_sd_model_name": "wan2.1_t2v_1.3B_bf16.safetensors"}
RUN = "annika-wan21-t2v-1-3b"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of the operator."""
    return tmp_path_factory.mktemp("operator")


@pytest.fixture(scope="module")
def done(
    operator: Loopback, discord: SandboxThread, root: Path
) -> tuple[dict[str, Ended], list[str]]:
    operator.create_secret("my-huggingface-secret", {"HF_TOKEN": "hf_x"})
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": discord.server.bot_token})
    files = guide_files(images=2, clips=0)
    write_zip(root / "annika.zip", files)
    _upload("datasets", {f"/datasets/con/{path}": its for path, its in files.items()})
    lora = write_adapter(root / "lora.safetensors", tensors(widths("wan21-t2v-1-3b")), KNOWN)
    _upload("kohya-volume", {"/outputs/anna/step:5?.safetensors": lora.read_bytes()})
    archive = str(root / "annika.zip")
    run = ("--model", "wan21-t2v-1-3b", "--dataset", "annika", *ON_MODAL)
    commands = {
        "deploy": ("deploy", *APP, "--engine", "rehearsal"),
        "doctor": ("doctor", "--json", *ON_MODAL),
        "probe": ("doctor", "--probe", "--json", *ON_MODAL),
        "add": ("add", archive, *ON_MODAL),
        "plan": ("plan", "--json", *run),
        "train": ("train", "--epochs", "1", *run),
        "runs": ("runs", "--json", *ON_MODAL),
        "files": ("download", RUN, "--out", str(root / "files"), *ON_MODAL),
        "zip": ("download", RUN, "--zip", "--out", str(root / "zip"), *ON_MODAL),
        "listing": ("import-volume", "--list", "--json", *ON_MODAL),
        "import": ("import-volume", "--all", *ON_MODAL),
    }
    discord_url = {"LORABOT_DISCORD_URL": discord.server.base_url}
    return as_windows(root, commands, operator.process_env(discord_url))


def _upload(name: str, files: dict[str, bytes | str]) -> None:
    with modal.Volume.from_name(name, create_if_missing=True).batch_upload() as batch:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            batch.put_file(BytesIO(data), path)


@pytest.fixture
def ended(done: tuple[dict[str, Ended], list[str]]) -> dict[str, Ended]:
    return done[0]


def test_every_command_does_its_work(ended: dict[str, Ended]) -> None:
    assert {name: its.code for name, its in ended.items()} == dict.fromkeys(ended, 0)


def test_nothing_breaks_a_rule_of_windows(done: tuple[dict[str, Ended], list[str]]) -> None:
    assert done[1] == []


def test_a_plan_for_modal_has_the_paths_of_its_containers(ended: dict[str, Ended]) -> None:
    (train,) = (one for one in ended["plan"].json()["stages"] if one["stage"] == "train")

    assert train["argv"][train["argv"].index("--dit") + 1].startswith("/mnt/lorabot/models/")


def test_the_checkpoint_is_on_this_machine(root: Path, ended: dict[str, Ended]) -> None:
    assert f"{RUN}.safetensors" in ended["files"].out
    assert (root / "files" / f"{RUN}.safetensors").stat().st_size > 0
    assert (root / "zip" / f"{RUN}.zip").stat().st_size > 0


def test_things_with_names_that_windows_refuses_are_imported(ended: dict[str, Ended]) -> None:
    assert "dataset dataset-con: imported" in ended["import"].out
    assert "checkpoint step-5: imported" in ended["import"].out
