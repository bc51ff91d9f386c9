"""An app whose functions stand in for stages and do what a test tells them."""

import os
import signal
import time
from typing import Any

import modal

from storage.modal.shared_dict import ModalDict
from training.backends.modal.call_records import CallRecords, from_plain

app = modal.App(
    "stages",
    image=modal.Image.debian_slim(python_version="3.11").add_local_python_source(
        "training", "storage"
    ),
)


def shared(kind: str, guild: str) -> ModalDict:
    """Return a Dict that only the calls of one guild use: every test has a guild of its own."""
    return ModalDict(modal.Dict.from_name(f"{kind}-{guild}", create_if_missing=True))


def work(values: dict[str, Any]) -> str:
    """Work on a call until the test's script, a Dict, says how it ends."""
    call, call_id = from_plain(values), modal.current_function_call_id() or ""
    records = CallRecords(shared("calls", call.guild), shared("line", call.guild))
    script = shared("script", call.guild)
    while script.get(call.run) == "wait":
        time.sleep(0.02)
    if not records.register(call.name, call_id):
        return "not mine"
    script.put(f"worked/{call.name}/{call_id}", True)
    while not (script.get(call.run) == "obey" and records.stop_requested(call.name)):
        if script.get(call.run) == "finish":
            return "done"
        end_badly(script.get(call.run))
        time.sleep(0.02)
    return "stopped"


def end_badly(how: object) -> None:
    """Fail, if the script says so."""
    match how:
        case "time out":
            raise TimeoutError
        case "exit":
            raise SystemExit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            return


@app.function(timeout=60)
def on_cpu(values: dict[str, Any]) -> str:
    """Stand for the stages without a GPU."""
    return work(values)


@app.function(gpu="T4", timeout=60)
def cache(values: dict[str, Any]) -> str:
    """Stand for one stage with a GPU."""
    return work(values)


@app.function(gpu="H100", timeout=60)
def train(values: dict[str, Any]) -> str:
    """Stand for another one."""
    return work(values)


@app.function(timeout=60)
def nothing(values: dict[str, Any]) -> None:
    """End at once for any call."""
