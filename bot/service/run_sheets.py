"""Draws the contact sheet of a run's dataset."""

import logging

from bot.installation import Installation
from bot.messages.datasets.contact_sheet import draw_sheet
from bot.messages.picture import Picture
from training.errors import TrainingError
from training.runs.spec import RunSpec

logger = logging.getLogger(__name__)


def sheet_if_possible(installation: Installation, spec: RunSpec) -> Picture | None:
    """Return the contact sheet of the dataset version that a run trains on.

    Returns:
        None if no sample has a picture or, which is logged, if the version was removed or damaged.
    """
    datasets = installation.datasets
    try:
        version = datasets.find(spec.guild, str(spec.dataset))
        pictures = datasets.thumbnails(spec.guild, version).images()
        return draw_sheet(datasets.report(spec.guild, version), pictures)
    except (OSError, TrainingError) as error:
        logger.warning("run %s: no contact sheet of %s: %s", spec.name, spec.dataset, error)
        return None
