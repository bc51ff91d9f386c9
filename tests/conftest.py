"""Fixtures of several suites, their order, and the examples that `make campaign` asks for."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from tests import one_thread  # noqa: F401  # pyright: ignore[reportUnusedImport] - before NumPy
from tests.examples import USUAL
from tests.lorabot import Lorabot
from tests.media import guide_files, write_zip
from tests.shown import SHOWN

settings.register_profile("campaign", max_examples=20 * USUAL)
SUITES_THAT_WAIT = ("pipeline", "wire")  # wait for processes and clocks; the longest is last


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest files, so that no worker is left alone with one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))

    def begins_late(item: pytest.Item) -> tuple[int, int]:
        suite = item.nodeid.split("/")[1]
        waits = SUITES_THAT_WAIT.index(suite) if suite in SUITES_THAT_WAIT else -1
        return -slow[item.path], -waits

    items.sort(key=begins_late)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests have recorded; pytest hides what passing tests print."""
    for report in terminalreporter.getreports("passed"):
        for name, table in report.user_properties:
            if name == SHOWN:
                terminalreporter.section(report.nodeid)
                terminalreporter.write_line(str(table))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset in the guide's layout."""
    path = tmp_path_factory.mktemp("dataset") / "annika.zip"
    return write_zip(path, guide_files(images=2, clips=1, frames=49))


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Lorabot:
    """Return the command line, run in this process."""
    return Lorabot(tmp_path / "home", capsys)
