"""Failures that musubi-tuner would also have, with its error messages."""

from training.errors import TrainingError


class MusubiError(TrainingError):
    """A failure; `cause` is the last line of the traceback that musubi-tuner would print.

    The process prints `cause` last and exits with 1, so that one log parser serves both engines.
    """
