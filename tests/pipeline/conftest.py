"""Fixtures of homes with a dataset."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from tests.lorabot import Lorabot
from tests.pipeline.home import GUILD, Home
from training.registry.dataset_draft import Upload


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Path:
    """Return the folder of a home with the dataset; copying it is faster than an inspection."""
    folder = tmp_path_factory.mktemp("stocked") / "home"
    upload = Upload(archive=archive, by="7", file_name="annika.zip")
    LocalInstallation(Settings(home=folder)).datasets.add(GUILD, "annika", upload)
    return folder


@pytest.fixture
def new_home(tmp_path: Path, stocked: Path) -> Iterator[Callable[[str], Home]]:
    """Make homes, and kill their processes afterwards."""
    made: list[Home] = []

    def make(name: str) -> Home:
        shutil.copytree(stocked, tmp_path / name)
        home = Home(LocalInstallation(Settings(home=tmp_path / name)))
        made.append(home)
        return home

    yield make
    for home in made:
        for process in home.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(10)


@pytest.fixture
def home(new_home: Callable[[str], Home]) -> Home:
    """Return one home with the dataset."""
    return new_home("home")


@pytest.fixture
def lorabot(tmp_path: Path) -> Iterator[Lorabot]:
    yield Lorabot(tmp_path / "home")
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in " ".join(process.info.get("cmdline") or []):
            with suppress(psutil.NoSuchProcess):
                process.kill()
