"""How a training is asked to end early."""

import logging
import signal
from types import FrameType
from typing import Self

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Set by SIGTERM and SIGINT while it is open; the running step is finished all the same."""

    def __init__(self) -> None:
        self.is_set = False
        self._before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def __enter__(self) -> Self:
        for number in _STOP_SIGNALS:
            signal.signal(number, self._set)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, number: int, frame: FrameType | None) -> None:
        del frame
        logger.info("Received %s: saving the state after this step", signal.Signals(number).name)
        self.is_set = True
