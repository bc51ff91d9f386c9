"""The machine that a benchmark ran on."""

import os
import platform
from pathlib import Path


def machine() -> str:
    """Return the cores, the memory and the kernel that the figures depend on."""
    cores, memory = len(os.sched_getaffinity(0)), _field("/proc/meminfo", "MemTotal")
    model = _field("/proc/cpuinfo", "model name") or platform.machine()
    return (
        f"{cores} cores ({model}), {int(memory.split()[0]) / 2**20:.0f} GiB, "
        f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"
    )


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""
