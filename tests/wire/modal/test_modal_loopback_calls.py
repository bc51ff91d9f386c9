"""Deploying through the real command, and calling what was deployed."""

from pathlib import Path

import modal
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import CommandError, Loopback

APP = """
import time
import modal

app = modal.App("tiny", image=modal.Image.debian_slim(python_version="3.11"))

@app.function(timeout=30)
def double(number):
    print("doubling", number)
    return 2 * number

@app.function(timeout=30)
def fail(text):
    raise ValueError(text)

@app.function(timeout=60)
def wait(seconds):
    print("waiting")
    time.sleep(seconds)
"""


@pytest.fixture(scope="module")
def app(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("app") / "tiny_app.py"
    path.write_text(APP)
    shared.deploy(path)


def test_a_deployed_function_runs_and_returns(shared: Loopback, app: None) -> None:
    result = deployed("tiny", "double").remote(21)

    assert result == 42
    assert "doubling 21" in shared.logs("double")


def test_an_exception_comes_back_as_itself(shared: Loopback, app: None) -> None:
    with pytest.raises(ValueError, match="no luck"):
        deployed("tiny", "fail").remote("no luck")

    assert shared.journal[-1].outcome == "failure"


def test_a_call_is_found_again_by_its_id_and_polled(shared: Loopback, app: None) -> None:
    call_id = deployed("tiny", "double").spawn(4).object_id

    result = modal.FunctionCall.from_id(call_id).get()

    assert result == 8
    assert modal.FunctionCall.from_id(call_id).get(timeout=0) == 8


def test_a_running_call_is_not_done_and_can_be_cancelled(shared: Loopback, app: None) -> None:
    call = deployed("tiny", "wait").spawn(60)
    shared.wait_for(lambda: shared.plane.calls.get(call.object_id).inputs[0].is_running)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)

    call.cancel()

    with pytest.raises(modal.exception.RemoteError):
        call.get()
    assert shared.journal[-1].outcome == "cancelled"


def test_an_unknown_function_is_not_found(shared: Loopback, app: None) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        deployed("tiny", "treble").remote(1)
    with pytest.raises(modal.exception.NotFoundError):
        modal.FunctionCall.from_id("fc-none").get(timeout=0)


def test_unsupported_features_of_the_loopback_fail_the_test(shared: Loopback, app: None) -> None:
    with pytest.raises(modal.exception.UnimplementedError, match="map over many inputs"):
        list(deployed("tiny", "double").map([1, 2]))

    with pytest.raises(AssertionError, match="not served: map over many inputs"):
        shared.check()
    shared.plane.router.unimplemented.clear()


def test_a_missing_secret_fails_the_deploy(shared: Loopback, tmp_path: Path) -> None:
    app = tmp_path / "with_secret.py"
    app.write_text(
        "import modal\n"
        "app = modal.App('with-secret')\n"
        "@app.function(secrets=[modal.Secret.from_name('hub', required_keys=['HF_TOKEN'])])\n"
        "def token():\n"
        "    import os\n"
        "    return os.environ['HF_TOKEN']\n"
    )

    with pytest.raises(CommandError, match="Secret 'hub' not found"):
        shared.deploy(app)
    shared.create_secret("hub", {"OTHER": "x"})
    with pytest.raises(CommandError, match="HF_TOKEN"):
        shared.deploy(app)
    shared.create_secret("hub", {"HF_TOKEN": "hf_secret"})
    shared.deploy(app)

    assert deployed("with-secret", "token").remote() == "hf_secret"
