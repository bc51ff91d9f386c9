"""Cron expressions and the clock that follows them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.wire.modal.loopback.api import CommandError, Loopback
from tests.wire.modal.loopback.cron import Cron

APP = """
import modal

app = modal.App("clock", image=modal.Image.debian_slim(python_version="3.11"))

@app.function(schedule=modal.Cron("* * * * *"))
def each_minute():
    print("ticked")

@app.function(schedule=modal.Cron("0 3 * * *", timezone="Asia/Tokyo"))
def at_night():
    pass

@app.function(schedule=modal.Period(hours=2))
def every_two_hours():
    pass
"""
MONDAY = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "is_named"),
    [
        ("* * * * *", True),
        ("0 18 * * *", True),
        ("1 18 * * *", False),
        ("*/15 * * * *", True),
        ("30/10 * * * *", False),
        ("0 9-18 * * mon-fri", True),
        ("0 9-17 * * mon-fri", False),
        ("0 18 23 nov *", True),
        ("0 18 1 * 1", True),  # one of two given days is enough
        ("0 18 1 * *", False),
        ("0 18 * * 7", False),
        ("0 18 * * 0,1", True),
    ],
)
def test_an_expression_names_its_minutes(expression: str, is_named: bool) -> None:
    assert Cron.parse(expression).matches(MONDAY) == is_named


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "5-1 * * * *", "* * 0 * *", "*/x * * * *", "a * * * *"]
)
def test_an_invalid_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cron expression"):
        Cron.parse(text)


def test_schedules_run_when_they_are_due(loopback: Loopback, tmp_path: Path) -> None:
    (tmp_path / "clock_app.py").write_text(APP)
    loopback.deploy(tmp_path / "clock_app.py")

    def due(minute: datetime) -> set[str]:
        before = len(loopback.plane.calls.calls)
        loopback.call(lambda: loopback.plane.schedules.pass_minute(minute))
        return {its.function.name for its in list(loopback.plane.calls.calls.values())[before:]}

    assert due(MONDAY) == {"each_minute", "at_night"}  # 18:00 UTC is 3:00 in Tokyo
    assert due(MONDAY.replace(minute=1)) == {"each_minute"}
    assert due(MONDAY.replace(hour=20)) == {"each_minute", "every_two_hours"}
    assert due(MONDAY.replace(hour=21)) == {"each_minute"}


def test_a_schedule_may_be_fired_by_hand_and_by_a_fast_clock(
    loopback: Loopback, tmp_path: Path
) -> None:
    (tmp_path / "clock_app.py").write_text(APP)
    loopback.deploy(tmp_path / "clock_app.py")

    call_id = loopback.fire_cron("each_minute")
    loopback.wait_for(lambda: loopback.plane.calls.get(call_id).finished_at)
    loopback.settings.cron_minute_seconds = 0.05
    loopback.wait_for(
        lambda: (
            sum(its.outcome == "success" for its in loopback.plane.scheduler.journal.attempts) >= 3
        )
    )
    loopback.settings.cron_minute_seconds = None

    assert "ticked" in loopback.logs("each_minute")


def test_a_starter_workspace_has_no_room_for_a_sixth_cron(plane: Loopback, tmp_path: Path) -> None:
    lines = ["import modal", 'app = modal.App("many")']
    for number in range(6):
        lines.append(f'app.function(schedule=modal.Cron("* * * * *"), name="f{number}")(print)')
    path = tmp_path / "many_app.py"
    path.write_text("\n".join([*lines, ""]))

    with pytest.raises(CommandError, match="at most 5 crons"):
        plane.deploy(path)

    path.write_text("\n".join([*lines[:-1], ""]))
    plane.deploy(path)
