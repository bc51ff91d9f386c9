"""`lorabot --backend modal`: runs on a deployment, from the zip to the files on this machine."""

import json
import zipfile
from pathlib import Path

import pytest

from bot.deploy.operator import open_deployment
from bot.hosting.modal import ModalInstallation
from bot.settings import Settings
from tests.media import guide_files, write_zip
from tests.wire.modal.command_line import ROOT, Result, lorabot, lorabot_alone
from tests.wire.modal.loopback.api import Loopback
from training.files.safetensors_header import read_header
from training.operations.run_drafts import Requester
from training.runs.spec import TrainRequest

ON_MODAL = ("--backend", "modal", "--app", "team")
RUN = "annika-wan21-t2v-1-3b"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = guide_files(images=2, clips=0)
    return write_zip(tmp_path_factory.mktemp("zip") / "annika.zip", files)


@pytest.fixture(scope="module")
def deployed(shared: Loopback) -> Loopback:
    """The stages, deployed with the engine that rehearses."""
    shared.create_secret("my-huggingface-secret", {"HF_TOKEN": "hf_x"})
    names = {"LORABOT_MODAL_APP": "team", "LORABOT_ENGINE": "rehearsal"}
    shared.deploy("module:training.modal_app", names, cwd=ROOT)
    return shared


@pytest.fixture(scope="module")
def trained(deployed: Loopback, archive: Path) -> Result:
    """A run that was started and followed to its end."""
    return lorabot(
        *("train", "--model", "wan21-t2v-1-3b", "--dataset", str(archive)),
        *("--epochs", "1", *ON_MODAL),
    )


@pytest.mark.slow
def test_a_run_is_started_and_followed_to_its_end(trained: Result, deployed: Loopback) -> None:
    assert (trained.code, trained.err) == (0, "")
    for line in ("prepare: done", "train-main: done", "publish-main: done"):
        assert line in trained.out
    assert f"lorabot download {RUN} --out FOLDER --backend modal --app team" in trained.out
    done = {attempt.function for attempt in deployed.journal}
    assert {"prepare", "fetch", "cache_small", "train_small", "publish"} <= done


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_runs_are_listed_with_the_engine_of_the_deployment() -> None:
    (run,) = lorabot("runs", "--json", *ON_MODAL).json()

    assert (run["name"], run["state"], run["engine"]) == (RUN, "succeeded", "rehearsal")


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_a_download_gives_exactly_the_stored_files(deployed: Loopback, tmp_path: Path) -> None:
    result = lorabot("download", RUN, "--out", str(tmp_path), *ON_MODAL)

    stored = deployed.committed("team-runs") / "guilds/local/runs" / RUN / "checkpoints"
    want = {path.name: path.read_bytes() for path in stored.glob("*/*.safetensors")}
    got = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert result.code == 0
    assert len(got) == 1
    assert got == want
    assert json.loads((tmp_path / f"{RUN}-comfyui.json").read_text("utf-8"))

    lorabot("download", RUN, "--out", str(tmp_path), "--zip", *ON_MODAL)

    with zipfile.ZipFile(tmp_path / f"{RUN}.zip") as whole:
        assert whole.read(f"{RUN}.safetensors") == want[f"{RUN}.safetensors"]


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_a_fetch_reports_the_bytes_so_far() -> None:
    store = open_deployment(Settings.read(backend="modal", modal_app="team")).runtime.store
    (key,) = (
        file.key
        for file in store.walk(f"guilds/local/runs/{RUN}/checkpoints")
        if file.key.endswith(f"{RUN}.safetensors")
    )
    told: list[int] = []

    path = store.fetch(key, told.append)

    assert told == sorted(told)
    assert told[-1] == path.stat().st_size


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_a_fetched_checkpoint_is_a_lora_to_start_from_and_can_be_removed(tmp_path: Path) -> None:
    lorabot("download", RUN, "--out", str(tmp_path), *ON_MODAL)
    (file,) = tmp_path.glob("*.safetensors")
    add = ("checkpoint", "add", str(file), "--model", "wan21-t2v-1-3b", "--name", "old")

    added = lorabot(*add, *ON_MODAL)
    listed = lorabot("checkpoint", "list", "--json", *ON_MODAL).json()
    removed = lorabot("checkpoint", "remove", "old", *ON_MODAL)

    assert added.code == removed.code == 0
    assert [(record["name"], record["expert"]) for record in listed] == [("old", "main")]
    assert lorabot("checkpoint", "list", "--json", *ON_MODAL).json() == []
    assert read_header(file).metadata["lorabot.expert"] == "main"


def test_datasets_are_added_and_recaptioned_on_the_deployment(
    deployed: Loopback, archive: Path, tmp_path: Path
) -> None:
    table = tmp_path / "captions.csv"

    added = lorabot("add", str(archive), "--name", "ben", *ON_MODAL)
    written = lorabot("captions", "ben", "--out", str(table), *ON_MODAL)
    table.write_text(table.read_text("utf-8-sig").replace("portrait", "picture"), "utf-8")
    changed = lorabot("captions", "ben", "--file", str(table), *ON_MODAL)
    difference = lorabot("diff", "ben@1", "ben@2", "--json", *ON_MODAL).json()

    assert [result.code for result in (added, written, changed)] == [0, 0, 0]
    assert len(difference["captions"]) == 2
    folder = deployed.committed("team-datasets") / "guilds/local/datasets/ben"
    assert {path.name for path in folder.iterdir()} == {"1", "2"}


def test_a_run_is_stopped_from_here(deployed: Loopback, archive: Path) -> None:
    started = lorabot("add", str(archive), "--name", "cleo", *ON_MODAL)
    spec = _start("cleo", epochs=900)

    cancelled = lorabot("cancel", spec, *ON_MODAL)

    assert (started.code, cancelled.code) == (0, 0)
    deployed.wait_for(lambda: not deployed.plane.scheduler.living_all())
    (run,) = (run for run in lorabot("runs", "--json", *ON_MODAL).json() if run["name"] == spec)
    assert run["state"] == "cancelled"


def test_a_spend_limit_is_named_by_train_and_by_runs(
    deployed: Loopback, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def look(_installation: ModalInstallation) -> None:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise KeyboardInterrupt

    train = ("train", "--model", "wan21-t2v-1-3b", "--dataset", str(archive), "--name", "limited")
    deployed.settings.is_spend_limit_reached = True
    with monkeypatch.context() as patch:
        patch.setattr(ModalInstallation, "ensure_worker", look)
        started = lorabot(*train, *ON_MODAL)
    listed = lorabot("runs", *ON_MODAL)
    deployed.settings.is_spend_limit_reached = False
    cancelled = lorabot("cancel", "limited", *ON_MODAL)

    assert [result.code for result in (started, listed, cancelled)] == [1, 0, 0]
    assert started.err == ""
    for result in (started, listed):
        said = " ".join(result.out.split())
        assert "Waiting: The spend limit of the workspace on Modal is reached." in said
        assert "modal.com/settings/usage" in said
        assert "the run then continues by itself" in said


def test_the_deployment_may_be_named_before_the_command_or_in_the_environment(
    deployed: Loopback,
) -> None:
    first = lorabot("--backend", "modal", "--app=team", "runs", "--json")
    env = {"LORABOT_BACKEND": "modal", "LORABOT_MODAL_APP": "team"}
    named = lorabot_alone(deployed, "runs", "--json", env=env)

    assert first.code == named.code == 0
    assert {run["name"] for run in first.json()} == {run["name"] for run in named.json()}


def test_an_unknown_deployment_name_creates_nothing(deployed: Loopback) -> None:
    before = deployed.call(lambda: deployed.plane.names.of_kind("Volume"))

    result = lorabot("runs", "--backend", "modal", "--app", "tema")

    assert result.code == 1
    assert "There is no Modal deployment called tema" in result.err
    assert "lorabot deploy" in result.err
    assert deployed.call(lambda: deployed.plane.names.of_kind("Volume")) == before


@pytest.mark.usefixtures("deployed")
def test_another_engine_than_the_deployments_is_refused(archive: Path) -> None:
    train = ("train", "--model", "wan21-t2v-1-3b", "--dataset", str(archive))

    result = lorabot(*train, "--engine", "musubi", *ON_MODAL)

    assert result.code == 1
    assert "trains with rehearsal, not with musubi" in result.err


@pytest.mark.parametrize("command", ["sandbox", "demo", "serve", "merge"])
def test_commands_for_this_machine_refuse_modal(command: str) -> None:
    result = lorabot(command, "--backend", "modal")

    assert result.code == 1
    assert f"lorabot {command} only runs on this machine" in result.err


def test_a_deployment_named_without_its_backend_is_refused() -> None:
    result = lorabot("runs", "--app", "team")

    assert result.code == 1
    assert "--backend modal" in result.err


def test_an_invalid_modal_name_is_refused() -> None:
    result = lorabot("runs", "--backend", "modal", "--app", "my team")

    assert result.code == 1
    assert "'my team' is not a valid deployment name." in result.err


def test_without_a_token_the_fix_is_shown(shared: Loopback) -> None:
    result = lorabot_alone(shared, "runs", "--backend", "modal", env={"MODAL_TOKEN_ID": ""})

    assert result.code == 1
    assert "modal setup" in result.err
    assert "Traceback" not in result.err


def _start(dataset: str, *, epochs: int) -> str:
    settings = Settings.read(backend="modal", modal_app="team")
    runs = open_deployment(settings).runs
    request = TrainRequest(
        model="wan21-t2v-1-3b", dataset=dataset, settings={"epochs": str(epochs)}
    )
    return runs.start(request, Requester(guild="local", by="operator"), "rehearsal").name
