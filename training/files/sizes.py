"""Formats sizes in bytes for display.

All of the project's texts use powers of 1,024 (KiB, MiB, GiB), as Discord's limits and Modal's
prices do.
"""

MIB = 1 << 20
GIB = 1 << 30
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(size_bytes: int) -> str:
    """Format a size for display, such as `812 KiB`, `151 MiB` or `1.2 GiB`."""
    if size_bytes < 1024:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    value = float(size_bytes)
    unit = ""
    for name in _UNITS:
        value, unit = value / 1024, name
        # Compare the rounded value, so that 1023.6 MiB is not shown as 1024 MiB.
        if round(value) < 1024:
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
