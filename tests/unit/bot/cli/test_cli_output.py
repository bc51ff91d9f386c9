"""What the command line prints for programs is JSON that every parser takes."""

import json
from typing import Any

import pytest

from bot.cli.output import print_json


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def test_a_loss_that_is_no_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"experts": [{"loss": float("nan"), "step": 3}], "rate": float("-inf"), "done": 0.5}

    print_json(value)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found == {"experts": [{"loss": None, "step": 3}], "rate": None, "done": 0.5}
