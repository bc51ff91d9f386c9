"""An app whose functions end in every way that a call can end."""

import modal

from tests.wire.modal.loopback.api import Loopback

APP = """
import asyncio
import os
import subprocess
import time
from pathlib import Path

import modal

app = modal.App("work", image=modal.Image.debian_slim(python_version="3.11"))
marks = modal.Dict.from_name("marks", create_if_missing=True)

@app.function(timeout=60)
def hold(seconds=60):
    try:
        print("holding")  # whoever has read it may interrupt at once
        time.sleep(seconds)
        return os.environ["MODAL_TASK_ID"]
    except BaseException as error:
        print("interrupted by", type(error).__name__)
        raise

@app.function(timeout=60)
async def hold_async(name):
    print("holding")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await marks.put.aio(name, "interrupted")
        raise

@app.function(timeout=60)
def once_held(name):
    if marks.put(name, "first", skip_if_exists=True):
        print("holding")
        time.sleep(60)
    return modal.current_input_id()

@app.function(timeout=60)
def stubborn(name):
    if not marks.put(name, "first", skip_if_exists=True):
        return "second"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            print("holding")
            time.sleep(60)
        except BaseException:
            print("will not go")

@app.function(timeout=1, startup_timeout=60,
              retries=modal.Retries(max_retries=1, initial_delay=0.0))
def slow():
    time.sleep(60)

@app.function(timeout=60, retries=modal.Retries(max_retries=2, initial_delay=0.0))
def third_time(name):
    marks[name] = marks.get(name, 0) + 1
    if marks[name] < 3:
        raise ValueError("not yet")
    return marks[name]

@app.function(timeout=60, single_use_containers=True)
def container():
    return os.environ["MODAL_TASK_ID"]

@app.function(timeout=60, max_containers=1)
def one_at_a_time():
    time.sleep(0.2)
    return os.environ["MODAL_TASK_ID"]

@app.function(timeout=60)
def parent():
    return container.spawn().object_id

@app.function(timeout=60)
def with_child(name):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    marks[name] = child.pid
    print("holding")
    time.sleep(60)

@app.cls(timeout=60)
@modal.concurrent(max_inputs=2)
class Together:
    @modal.method()
    async def meet(self, name, other):
        await marks.put.aio(name, "here")
        while not await marks.contains.aio(other):
            await asyncio.sleep(0.02)
        return os.environ["MODAL_TASK_ID"]

def driver():
    return subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout.strip()

@app.function(timeout=60, gpu="H100")
def train(seconds=0.0):
    time.sleep(seconds)
    return driver()

@app.function(timeout=60, gpu=["H100", "A100-80GB"])
def train_anywhere():
    return driver()
"""


def of_call(plane: Loopback, call: modal.FunctionCall[object]) -> list[str | None]:
    return [its.outcome for its in plane.journal if its.call_id == call.object_id]


def wait_until_running(plane: Loopback, call: modal.FunctionCall[object]) -> None:
    plane.wait_for(lambda: plane.plane.calls.get(call.object_id).inputs[0].is_running)


def wait_for_line(plane: Loopback, call: modal.FunctionCall[object], line: str) -> None:
    plane.wait_for(lambda: f"{line}\n" in plane.plane.logs.of(call.object_id))
