"""Describes the machine of a footage benchmark, for the first lines of its output."""

import platform
import subprocess

import av

from tests.bench.machine import machine


def hardware() -> str:
    """Return the machine and the programs that the figures depend on."""
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    return (
        f"{machine()}\n"
        f"Python {platform.python_version()}, PyAV {av.__version__} with libavcodec "
        f"{'.'.join(map(str, av.library_versions['libavcodec']))}, "
        f"{' '.join(version.stdout.split()[:3])}\n"
    )
