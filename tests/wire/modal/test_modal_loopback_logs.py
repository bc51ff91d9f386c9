"""What containers print, as the client reads it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import modal
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback

APP = """
import sys
import modal

app = modal.App("talk", image=modal.Image.debian_slim(python_version="3.11"))

@app.function(timeout=60)
def say(text):
    print(text)
    print("10%\\r20%\\rdone")
    print("careful", file=sys.stderr)

@app.local_entrypoint()
def main():
    say.remote("from the entrypoint")
"""


@pytest.fixture(scope="module")
def path(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("app") / "talk_app.py"
    path.write_text(APP)
    shared.deploy(path)
    return path


def wait_for_all(loopback: Loopback, call: modal.FunctionCall[object]) -> None:
    loopback.wait_for(
        lambda: {"done\n", "careful\n"} <= set(loopback.plane.logs.of(call.object_id))
    )


def test_the_lines_of_a_call_are_read_by_its_handle(shared: Loopback, path: Path) -> None:
    say = deployed("talk", "say")
    say.remote("of another call")
    call = say.spawn("of this call")
    call.get()
    wait_for_all(shared, call)

    lines = [(its.message, its.source) for its in call.logs.tail(entries=10)]
    fetched = list(call.logs.fetch(since=datetime.now(UTC) - timedelta(minutes=5)))
    streamed = list(call.logs.stream(timeout=1))

    assert [text for text, source in lines if source == "stdout"] == [
        "of this call\n",
        "10%\r",
        "20%\r",
        "done\n",
    ]
    assert [text for text, source in lines if source == "stderr"] == ["careful\n"]
    assert len(fetched) == len(streamed) == len(lines)


def test_a_handle_made_from_an_id_reads_the_lines_too(shared: Loopback, path: Path) -> None:
    call = deployed("talk", "say").spawn("by id")
    call.get()
    wait_for_all(shared, call)

    last = list(modal.FunctionCall.from_id(call.object_id).logs.tail(entries=2))

    assert len(last) == 2


def test_modal_run_shows_what_a_function_prints(shared: Loopback, path: Path) -> None:
    done = shared.run("run", path)

    assert "from the entrypoint" in done


def test_app_logs_shows_what_was_printed(shared: Loopback, path: Path) -> None:
    call = deployed("talk", "say").spawn("for the command line")
    call.get()
    wait_for_all(shared, call)

    assert "for the command line" in shared.run("app", "logs", "talk")
