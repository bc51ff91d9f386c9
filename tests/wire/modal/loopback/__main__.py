"""Serve a control plane until SIGTERM: `python -m tests.wire.modal.loopback STATE_DIR`."""

import signal
import sys
from pathlib import Path

from tests.wire.modal.loopback.api import Loopback


def main(state: Path) -> None:
    """Print the address, serve until SIGTERM or SIGINT, and end with nothing left."""
    ends = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with Loopback(state) as loopback:
        sys.stdout.write(f"{loopback.url}\n")
        sys.stdout.flush()
        signal.sigwait(ends)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
