"""Where a program of the project tells what it does: its standard error."""

import logging


def log_to_stderr(form: str = "%(levelname)s %(message)s") -> None:
    """Print what is logged from INFO on, but for the addresses that HTTP clients ask.

    Those are signed: whoever reads a log could fetch what they lead to.
    """
    logging.basicConfig(level=logging.INFO, format=form)
    for client in ("httpx", "httpx2"):
        logging.getLogger(client).setLevel(logging.WARNING)
