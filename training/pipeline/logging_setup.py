"""Sets up logging to standard error, for all programs."""

import logging


def log_to_stderr(form: str = "%(levelname)s %(message)s") -> None:
    """Log at level INFO, but not the URLs of HTTP requests.

    Those URLs are signed, so anybody who reads the log could download the files.
    """
    logging.basicConfig(level=logging.INFO, format=form)
    for client in ("httpx", "httpx2"):
        logging.getLogger(client).setLevel(logging.WARNING)
