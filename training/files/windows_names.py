"""Makes file names that Windows accepts, because users may download files to Windows."""

import re

# A device's name is reserved with any extension: `nul.zip` means the device, too.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\..*)?")
_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def is_device(name: str) -> bool:
    """Return whether Windows would treat a file name as a device."""
    return _DEVICE.fullmatch(name) is not None


def portable(name: str) -> str:
    """Return a file name that Windows accepts, as close to `name` as possible."""
    plain = _REFUSED.sub("-", name).rstrip(" .") or "-"
    return f"file-{plain}" if is_device(plain) else plain
