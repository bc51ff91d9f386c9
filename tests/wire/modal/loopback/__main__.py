"""Serve a control plane until SIGTERM: `python -m tests.wire.modal.loopback STATE_DIR`.

The settings that are numbers are options, as `--cron-minute-seconds 5`.
"""

import signal
import sys
from argparse import ArgumentParser
from dataclasses import fields
from pathlib import Path

from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.settings import Settings


def parser() -> ArgumentParser:
    """Return the parser of the command line."""
    found = ArgumentParser(prog="loopback", description=(__doc__ or "").splitlines()[0])
    found.add_argument("state", type=Path, help="where dicts, volumes and deployed apps lie")
    for field in fields(Settings):
        if field.type in (int, float, float | None):
            kind = int if field.type is int else float
            found.add_argument(
                f"--{field.name.replace('_', '-')}", type=kind, default=field.default
            )
    return found


def main(arguments: list[str]) -> None:
    """Print the address and the variables for a shell, then serve until SIGTERM or SIGINT."""
    options = vars(parser().parse_args(arguments))
    ends = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    state: Path = options.pop("state")
    with Loopback(state, Settings(**options)) as loopback:
        variables = " ".join(f"{name}={text}" for name, text in loopback.client_env().items())
        sys.stdout.write(f"{loopback.url}\nexport {variables}\n")
        sys.stdout.flush()
        signal.sigwait(ends)


if __name__ == "__main__":
    main(sys.argv[1:])
