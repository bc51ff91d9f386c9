"""Failures that a rehearsal shares with musubi-tuner, in musubi's own words."""

from training.errors import TrainingError


class MusubiError(TrainingError):
    """A failure of musubi-tuner; `cause` is the last line of its traceback.

    The process prints that line last and exits with 1, so that one parser handles both engines.
    """
