"""Asks the NVIDIA driver which GPU this machine has."""

import logging
import shutil
import subprocess

from training.catalogue.gpus import gpu_of_driver
from training.vocabulary import EngineName

logger = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 60.0  # the first call after the machine starts may have to load the driver


def no_found_gpu(_engine: EngineName) -> None:
    """Return None, for machines whose stages run on a CPU."""


def found_gpu() -> str | None:
    """Return the catalogue's name for the machine's first GPU, such as `H100`; None if unknown.

    For a GPU that is not in the catalogue, return the driver's name for it, without `NVIDIA`. If
    the driver does not answer, only log that, because training does not depend on the name.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("cannot get the GPU's name from the driver: %s", error)
        return None
    name = next(iter(answer.stdout.splitlines()), "").strip()
    known = gpu_of_driver(name)
    return known.name if known is not None else name.removeprefix("NVIDIA ") or None
