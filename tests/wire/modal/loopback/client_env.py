"""The environment in which the unmodified client speaks to the loopback."""

import os

# Variables that a process gets from the host: path and locale, but no token or user settings.
HOST_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
# All of the client's own warnings derive from UserWarning.
PYTHON_WARNINGS = "error::UserWarning,ignore:Failed to initialize NumPy:UserWarning"


def client_env(url: str) -> dict[str, str]:
    """Return the variables that lead the client to the control plane at `url`."""
    return {
        "MODAL_SERVER_URL": url,
        "MODAL_TOKEN_ID": "ak-loopback",
        "MODAL_TOKEN_SECRET": "as-loopback",
        "MODAL_ENVIRONMENT": "main",
        "MODAL_CONFIG_PATH": "/nonexistent",  # do not read a user's file
        "MODAL_PROFILE": "",
    }


def process_env(url: str) -> dict[str, str]:
    """Return the whole environment of a process that runs the client."""
    host = {name: os.environ[name] for name in HOST_VARIABLES if name in os.environ}
    return host | client_env(url) | {"PYTHONWARNINGS": PYTHON_WARNINGS}
