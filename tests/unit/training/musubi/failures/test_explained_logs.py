"""Every log of the table has its cause and fix, however a collector changes its lines."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.training.musubi.failures.logs import PUBLIC, TABLE
from training.musubi.failures.explain import UNKNOWN, explain
from training.musubi.failures.known.catalogue import ENTRIES
from training.musubi.failures.log_text import decode

NAMED = [row for row in TABLE if "log" in row]
PREFIXES = (
    "[STDERR] ",
    "[08:03:35] [STDERR] ",
    "2026-11-28T10:00:00Z ",
    "2026-11-28T10:00:00.123456789Z stderr F ",
    "2026-11-28T10:00:00+09:00\t",
    "2026-11-28 10:00:00,123 - trainer - ERROR - ",
    "2026-11-28 10:00:00.123 | ERROR    | runner:pump:12 - ",
    "2023-07-12 02:50:34 | ERROR | stderr | ",
    "[2026-11-28 10:00:00] [ERROR] ",
    "11/28/2026 10:00:00 AM ",
    "1732788000.123 ",
    "Nov  8 10:00:00 gpu-host python[1234]: ",
    "trainer-1  | ",
    "trainer-1  | 2026-11-28T10:00:00.123Z ",
    "[pod/train-abc/trainer] ",
    "(Worker pid=123, ip=10.0.0.1) ",
    "[rank0]: ",
    "[default0]:",
    "[0] [0] ",
    "[1,0]<stderr>:",
)
# Recognized only by the frames of a traceback.
UNKNOWN_PREFIXES = ("Training STDERR: ", "[Node 7] TRAINER: ", "train-abc-x7 trainer ", "> ")


def read(row: dict[str, Any]) -> str:
    return row["text"] if "text" in row else (PUBLIC / row["log"]).read_bytes().decode()


def code_of(text: str) -> str:
    failure = explain(text)
    return "" if failure is None else failure.code


def lines_of(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


def as_json(line: str) -> str:
    return json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026-11-28T10:00:00Z"})


SHAPE = "RuntimeError: shape '[1, 8, 40, 128]' is invalid for input of size 4321"
META = "NotImplementedError: Cannot copy out of meta tensor; no data!"


def test_every_log_file_is_in_the_table() -> None:
    assert sorted(row["log"] for row in NAMED) == sorted(path.name for path in PUBLIC.glob("*.log"))


@pytest.mark.parametrize("row", NAMED, ids=lambda row: row["log"])
def test_a_public_log_has_the_cause_and_fix_of_the_table(row: dict[str, Any]) -> None:
    failure = explain(read(row))

    assert failure is not None
    assert (failure.code, failure.retry) == (row["code"], row.get("retry", False))
    assert row["cause"] in failure.cause
    assert row["fix"] in failure.fix


@pytest.mark.parametrize("row", [row for row in TABLE if "text" in row], ids=lambda r: r["code"])
def test_a_variant_has_its_code(row: dict[str, Any]) -> None:
    failure = explain(row["text"])

    assert ("" if failure is None else failure.code) == row["code"]
    assert (failure is not None and failure.retry) == row.get("retry", False)


def test_every_code_of_the_table_is_a_known_failure() -> None:
    assert {row["code"] for row in TABLE} <= {entry.code for entry in ENTRIES} | {UNKNOWN, ""}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_on_every_line_changes_nothing(prefix: str) -> None:
    for row in TABLE:
        text = "\n".join(f"{prefix}{line}" for line in lines_of(read(row)))

        assert code_of(text) == row["code"], text


@pytest.mark.parametrize("prefix", UNKNOWN_PREFIXES)
def test_an_unknown_prefix_is_learned_from_the_frames_of_a_traceback(prefix: str) -> None:
    for row in TABLE:
        text = read(row)
        if 'File "' in text and "Traceback" in text:
            assert code_of("\n".join(f"{prefix}{line}" for line in lines_of(text))) == row["code"]


CHANGES: dict[str, Callable[[str], str]] = {
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "crcrlf": lambda text: text.replace("\n", "\r\r\n"),
    "colours": lambda text: text.replace("Error", "\x1b[1;35mError\x1b[0m"),
    "json lines": lambda text: "\n".join(map(as_json, lines_of(text))),
}
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16, little, no mark": lambda text: text.encode("utf-16-le"),
    "utf-16, big, no mark": lambda text: text.encode("utf-16-be"),
    "utf-16, big": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "utf-8, marked": lambda text: text.encode("utf-8-sig"),
    "appended by PowerShell": lambda text: b"started\n" * 1_000 + text.encode("utf-16-le"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_line_endings_colours_and_json_change_nothing(change: str) -> None:
    for row in TABLE:
        assert code_of(CHANGES[change](read(row))) == row["code"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_changes_nothing(encoding: str) -> None:
    for row in TABLE:
        assert code_of(decode(ENCODINGS[encoding](read(row)))) == row["code"]


def test_a_traceback_in_a_box_of_rich_is_read() -> None:
    log = (
        "╭───────────── Traceback (most recent call last) ──────────────╮\n"
        "│ C:\\kohya_ss\\venv\\lib\\site-packages\\accelerate\\commands\\     │\n"
        "│ launch.py:918 in launch_command                              │\n"
        "│ ❱ 918 │   │   simple_launcher(args)                          │\n"
        "╰──────────────────────────────────────────────────────────────╯\n"
        "CalledProcessError: Command '['C:\\\\venv\\\\python.exe', \n"
        "'wan_train_network.py']' returned non-zero exit \n"
        "status 3221225477.\n"
    )

    assert code_of(log) == "native-crash"


def test_a_first_line_spoiled_by_powershell_is_read() -> None:
    log = (
        "python : Traceback (most recent call last):\n"
        "At C:\\train.ps1:3 char:1\n"
        "+ python wan_train_network.py\n"
        "    + CategoryInfo          : NotSpecified: (Traceback (most recent call last)::String) "
        "[], RemoteException\n"
        "    + FullyQualifiedErrorId : NativeCommandError\n"
        " \n"
        '  File "C:\\musubi\\wan_train_network.py", line 8, in <module>\n'
        "    main()\n"
        "KeyError: 'clip'\n"
    )

    assert code_of(log) == "caches-without-clip"


def test_an_exit_code_of_windows_explains_a_silent_end() -> None:
    failure = explain("INFO:musubi_tuner:loading\n", 3221225477)

    assert failure is not None
    assert failure.code == "native-crash"
    assert "0xC0000005" in failure.cause


def test_a_nan_loss_is_a_failure_even_with_exit_code_0() -> None:
    bar = "steps: 100%|█| 400/400 [37:11<00:00,  5.75s/it, avr_loss={}]\nmodel saved.\n"

    assert explain(bar.format("0.08"), 0) is None
    failure = explain(bar.format("nan"), 0)
    assert failure is not None
    assert failure.code == "loss-no-number"


@pytest.mark.parametrize(
    ("raised", "places", "code"),
    [
        (SHAPE, "musubi_tuner/wan/modules/model.py", "sizes-differ"),
        (SHAPE, "accelerate/utils/operations.py musubi_tuner/wan/modules/model.py", "sizes-differ"),
        (SHAPE, "musubi_tuner/training/trainer_base.py optimizers/muon.py", UNKNOWN),
        (SHAPE, "torch/optim/adamw.py", UNKNOWN),
        (SHAPE, "bitsandbytes/optim/optimizer.py", UNKNOWN),
        (SHAPE, "musubi_tuner/wan/modules/t5.py", UNKNOWN),
        (SHAPE, "transformers/models/umt5/modeling_umt5.py", UNKNOWN),
        (META, "musubi_tuner/wan/modules/model.py", "weights-incomplete"),
        (META, "musubi_tuner/wan/modules/vae.py", "wrong-vae"),
        (META, "accelerate/hooks.py", UNKNOWN),
        (META, "accelerate/big_modeling.py torch/nn/modules/module.py", UNKNOWN),
        (META, "deepspeed/runtime/engine.py", UNKNOWN),
    ],
)
def test_an_error_of_many_causes_is_explained_only_where_the_cause_is_likely(
    raised: str, places: str, code: str
) -> None:
    frames = "".join(
        f'  File "/opt/{place}", line 7, in step\n    call()\n' for place in places.split()
    )

    assert code_of(f"Traceback (most recent call last):\n{frames}{raised}\n") == code
