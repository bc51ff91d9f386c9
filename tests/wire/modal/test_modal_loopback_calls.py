"""Deploying through the real command, and calling what was deployed."""

from pathlib import Path

import modal
import pytest

from tests.wire.modal.loopback.api import Loopback

APP = """
import modal

app = modal.App("tiny", image=modal.Image.debian_slim(python_version="3.11"))

@app.function(timeout=30)
def double(number):
    print("doubling", number)
    return 2 * number
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "tiny_app.py"
    path.write_text(APP)
    return path


def test_a_deployed_function_runs_and_returns(loopback: Loopback, app: Path) -> None:
    loopback.deploy(app)

    double: modal.Function[[int], int, int] = modal.Function.from_name("tiny", "double")
    result = double.remote(21)

    assert result == 42
    assert "doubling 21" in loopback.logs("double")
