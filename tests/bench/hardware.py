"""What a benchmark ran on, in the first lines of its output."""

import os
import platform
import subprocess
from pathlib import Path

import av


def hardware() -> str:
    """Return the cores, the memory and the programs that the figures depend on."""
    cores, memory = len(os.sched_getaffinity(0)), _field("/proc/meminfo", "MemTotal")
    model = _field("/proc/cpuinfo", "model name") or platform.machine()
    busy = os.getloadavg()[0]
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    return (
        f"{cores} cores ({model}), {int(memory.split()[0]) / 2**20:.0f} GiB, "
        f"Linux {platform.release()}, load before {busy:.1f}\n"
        f"Python {platform.python_version()}, PyAV {av.__version__} with libavcodec "
        f"{'.'.join(map(str, av.library_versions['libavcodec']))}, "
        f"{' '.join(version.stdout.split()[:3])}\n"
    )


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""
