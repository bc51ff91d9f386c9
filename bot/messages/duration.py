"""Seconds and bytes in words."""

_MINUTE = 60
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """Return a time as people say it: `45 s`, `12 min`, `2 h 5 min`, `3 days 4 h`."""
    if round(seconds) < _MINUTE:
        return f"{max(round(seconds), 0)} s"
    minutes = round(seconds / _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    named = "1 day" if days == 1 else f"{days} days"
    return f"{named} {hours} h" if hours else named


def about(seconds: float) -> str:
    """Return a time that is only roughly known, and that does not change with every second."""
    if seconds < _MINUTE:
        return "less than a minute"
    return f"about {duration(seconds)}"


def size(size_bytes: int) -> str:
    """Return a size as people say it: `812 KiB`, `151 MiB`, `1.2 GiB`."""
    if size_bytes < 1024:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    value = float(size_bytes)
    unit = ""
    for name in _UNITS:
        value, unit = value / 1024, name
        # 1023.6 MiB would be shown as 1024 MiB.
        if round(value) < 1024:
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
