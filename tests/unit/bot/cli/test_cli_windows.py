"""What the command line does on Windows without Modal; one process runs all commands."""

import os
from pathlib import Path

import pytest

from tests.adapters import tensors, widths, write_adapter
from tests.as_windows import Ended, Rules, as_windows
from tests.media import guide_files, write_zip

pytestmark = pytest.mark.slow
LOGS = Path(__file__).parents[3] / "data/explain-logs"
CAPTION = "ann1ka, 猫の写真 № 7"
NEEDS_LINUX = {
    "train": ["train", "--model", "wan21-t2v-1-3b", "--dataset", "annika"],
    "resume": ["resume", "annika"],
    "sandbox": ["sandbox"],
    "serve": ["serve"],
    "demo": ["demo"],
    "merge": ["merge"],
    "bench-gpu": ["bench-gpu"],
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Ended], list[str]]:
    root = tmp_path_factory.mktemp("windows")
    media = guide_files(images=2, clips=1)
    files = {
        "Aux.png": media["images/000.png"],
        "Aux.txt": CAPTION,
        "more/aux.png": media["images/001.png"],
        "more/aux.txt": "ann1ka, portrait 2",
        "videos/con.1.mp4": media["videos/001.mp4"],
        "videos/con.1.txt": "ann1ka, walking",
    }
    archive = str(write_zip(root / "nul.zip", files))
    more = str(write_zip(root / "more.zip", guide_files(images=1, clips=0)))
    lora = write_adapter(root / "lora.safetensors", tensors(widths("wan21-t2v-1-3b")))
    plan = ["plan", "--model", "wan22-i2v-lightning", "--dataset", archive, "--json"]
    commands = {
        "help": ["--help"],
        "models": ["models"],
        "check": ["check", archive, "--repair", str(root / "repaired")],
        "sheet": ["check", archive, "--sheet", str(root / "s.jpg"), "--table", str(root / "t.csv")],
        "add": ["add", archive],
        "captions": ["captions", "dataset-nul"],
        "join": ["add", more, "--name", "dataset-nul", "--mode", "add"],
        "diff": ["diff", "dataset-nul@1", "dataset-nul@2"],
        "lora": ["checkpoint", "add", str(lora), "--model", "wan21-t2v-1-3b"],
        "loras": ["checkpoint", "list"],
        "plan": plan,
        "runs": ["runs"],
        "cancel": ["cancel", "annika"],
        "run": ["run", "remove", "annika"],
        "download": ["download", "annika", "--out", str(root / "out")],
        "explain": ["explain", str(LOGS / "nan.log")],
        "doctor": ["doctor", "--backend", "local", "--json"],
        "remove": ["dataset", "remove", "dataset-nul"],
        "restore": ["dataset", "restore", "dataset-nul"],
        "trash": ["trash"],
        **NEEDS_LINUX,
    }
    return as_windows(root, commands)


@pytest.fixture
def ended(done: tuple[dict[str, Ended], list[str]]) -> dict[str, Ended]:
    return done[0]


def test_nothing_breaks_a_rule_of_windows(done: tuple[dict[str, Ended], list[str]]) -> None:
    assert done[1] == []


def test_every_command_runs(ended: dict[str, Ended]) -> None:
    codes = {name: its.code for name, its in ended.items()}

    refused = dict.fromkeys(("cancel", "run", "download", *NEEDS_LINUX), 1)
    assert codes == {name: refused.get(name, 0) for name in ended}


def test_letters_that_an_old_encoding_lacks_are_printed(ended: dict[str, Ended]) -> None:
    assert CAPTION in ended["captions"].out
    assert "╭" in ended["help"].out


def test_a_plan_has_the_paths_of_linux(ended: dict[str, Ended]) -> None:
    (train, *_) = (one for one in ended["plan"].json()["stages"] if one["stage"] == "train")

    assert not any("\\" in argument for argument in train["argv"])


def test_the_doctor_does_not_ask_for_a_gpu(ended: dict[str, Ended]) -> None:
    (gpu,) = (one for one in ended["doctor"].json() if one["check"] == "GPU")

    assert (gpu["status"], gpu["text"]) == ("not checked", "Training on this machine needs Linux.")


@pytest.mark.parametrize("name", NEEDS_LINUX)
def test_what_needs_linux_says_so_and_names_wsl(name: str, ended: dict[str, Ended]) -> None:
    assert " needs Linux.\n" in ended[name].err
    assert "On Windows, run it in WSL (wsl --install)" in ended[name].err


def test_the_rules_are_those_of_windows(tmp_path: Path) -> None:
    faults = tmp_path / "faults"
    rules = Rules(faults, tmp_path)
    made = os.O_WRONLY | os.O_CREAT
    (tmp_path / "a.txt").touch()

    rules.hear("open", (f"{tmp_path}/fine.txt", "w", made))
    rules.hear("open", (f"{tmp_path}/why?", "r", os.O_RDONLY))
    rules.hear("open", (f"{tmp_path}/step:5", "w", made))
    rules.hear("os.mkdir", (f"{tmp_path}/nul.d", 0o777, -1))
    rules.hear("os.mkdir", (f"{tmp_path}/{'long' * 60}", 0o777, -1))
    rules.hear("os.link", (f"{tmp_path}/a", f"{tmp_path}/A.TXT", -1, -1))
    rules.hear("os.symlink", (f"{tmp_path}/a", f"{tmp_path}/b", -1))
    with (tmp_path / "a.txt").open("rb"):
        rules.hear("os.remove", (f"{tmp_path}/a.txt", -1))
        rules.hear("os.rename", (f"{tmp_path}/c", f"{tmp_path}/a.txt", -1, -1))

    kinds = [line.partition(": ")[0] for line in faults.read_text("utf-8").splitlines()]
    assert kinds == [
        *("a name that Windows refuses", "a name that Windows refuses", "a path that is too long"),
        *("a name like that of another file", "a symbolic link", "an open file that is removed"),
        "an open file that is replaced",
    ]
