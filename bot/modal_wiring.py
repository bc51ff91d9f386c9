"""The composition root of a deployment on Modal, seen from the bot or an operator's machine."""

import tempfile
from pathlib import Path

from bot.installation import Installation
from bot.settings import Settings
from storage.modal_house import open_house
from storage.run_index import SqliteRunIndex
from training.deployment import Deployment


class ModalHouse(Installation):
    """Everything that works on one deployment; its stages and their order are Modal's to run."""

    def __init__(self, settings: Settings, deployment: Deployment) -> None:
        self.deployment = deployment
        parts = open_house(deployment, limits=settings.limits)
        # Of this process alone: it is filled again from the runs, and never lies on a Volume.
        folder = Path(tempfile.mkdtemp(prefix="lorabot-"))
        index = SqliteRunIndex(folder / "index.sqlite")
        super().__init__(settings, parts.house, parts.claims, index)
