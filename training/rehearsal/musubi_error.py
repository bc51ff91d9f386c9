"""The refusals that a rehearsal shares with musubi-tuner, in musubi's own words."""

from training.errors import TrainingError


class MusubiError(TrainingError):
    """What musubi-tuner would end with: `cause` is the last line of its traceback.

    The process prints that line last and ends with 1, so that one reader of failures serves
    both engines.
    """
