"""`bench-gpu` shows what the measurement in musubi-tuner's environment prints."""

import json
import stat
from pathlib import Path

import pytest

from bot.__main__ import main
from training.musubi.launcher.program import BENCH

LINE = {"family": "wan21-t2v", "tokens": 3600, "mode": "fp8", "own_s": [0.34, 0.35], "ratio": 0.33}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "musubi/src/musubi_tuner/wan_train_network.py"
    script.parent.mkdir(parents=True)
    script.touch()
    monkeypatch.setenv("LORABOT_MUSUBI_DIR", str(tmp_path / "musubi"))
    return tmp_path / "musubi"


def interpreter(checkout: Path, body: str) -> None:
    path = checkout / ".venv/bin/python"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\necho "$@" > {checkout}/given\n{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_each_measurement_is_shown(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interpreter(checkout, f"echo 'WanModel: enabled'\necho '{json.dumps(LINE)}'")

    with pytest.raises(SystemExit) as ended:
        main(["bench-gpu", "--tokens", "3600", "--memory", "80"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == "wan21-t2v 3600 fp8: own s 0.34 0.35, ratio 0.33\n"
    assert (checkout / "given").read_text().split()[1:] == [
        *(BENCH, str(checkout), "--families", "wan21-t2v", "--tokens", "3600"),
        *("--modes", "16bit,fp8", "--memory", "80"),
    ]


def test_json_is_one_document(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interpreter(checkout, f"echo '{json.dumps(LINE)}'")

    with pytest.raises(SystemExit):
        main(["bench-gpu", "--json"])

    assert json.loads(capsys.readouterr().out) == [LINE]


def test_a_failed_measurement_says_what_it_needs(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interpreter(checkout, "exit 3")

    with pytest.raises(SystemExit) as ended:
        main(["bench-gpu"])

    assert ended.value.code == 1
    assert "exit code 3" in capsys.readouterr().err
