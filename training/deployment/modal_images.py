"""The images of the Functions; layers that change least come first, code last."""

import modal

from training.deployment.code_version import BOT_CODE, FOLDERS_NOT_SENT, STAGES_CODE
from training.deployment.image_pins import (
    INDIRECT,
    MUSUBI_COMMANDS,
    PACKAGES,
    PYTHON,
    TORCH,
    TORCH_CPU_INDEX,
    TORCH_NEEDS,
    UV,
)

# Images get code and the data files it reads, but not the sandbox's pages.
_NOT_SENT = tuple(f"**/{folder}/**" for folder in FOLDERS_NOT_SENT)


def stage_image() -> modal.Image:
    """Return the image of CPU stages, without torch."""
    return _with_code(_python(), *STAGES_CODE)


def merge_image() -> modal.Image:
    """Return the image of the merge, with the CPU build of torch."""
    needs = _python().uv_pip_install(*TORCH_NEEDS, uv_version=UV)
    torch = needs.uv_pip_install(TORCH, index_url=TORCH_CPU_INDEX, uv_version=UV)
    return _with_code(torch, *STAGES_CODE)


def gpu_image() -> modal.Image:
    """Return the image of GPU stages, with musubi-tuner in a separate environment."""
    musubi = modal.Image.debian_slim(PYTHON).apt_install("git").run_commands(*MUSUBI_COMMANDS)
    return _with_code(_packages(musubi), *STAGES_CODE)


def bot_image() -> modal.Image:
    """Return the image of the bot and its web server."""
    return _with_code(_python(), *BOT_CODE)


def _python() -> modal.Image:
    return _packages(modal.Image.debian_slim(PYTHON))


def _packages(image: modal.Image) -> modal.Image:
    return image.uv_pip_install(*PACKAGES, *INDIRECT, uv_version=UV)


def _with_code(image: modal.Image, *packages: str) -> modal.Image:
    return image.add_local_python_source(*packages, ignore=list(_NOT_SENT))
