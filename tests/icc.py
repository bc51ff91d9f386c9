"""ICC profiles and PNG chunks that declare an image's colours."""

import struct
import zlib

# Columns of red, green and blue for the D50 white of ICC profiles.
SRGB_XYZ = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
P3_XYZ = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_XYZ = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
Columns = tuple[tuple[float, float, float], ...]


def rgb_profile(name: str, columns: Columns, curve: bytes) -> bytes:
    """Return an ICC profile, version 2, of three primaries and one curve."""
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"desc": _text(name), b"cprt": b"text\0\0\0\0-\0"}
    for letter, column in zip(b"rgb", columns, strict=True):
        tags[bytes([letter]) + b"XYZ"] = _xyz(*column)
        tags[bytes([letter]) + b"TRC"] = curve
    return _profile(b"RGB ", tags)


def grey_profile(name: str, curve: bytes) -> bytes:
    """Return an ICC profile of grey."""
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"desc": _text(name), b"cprt": b"text\0\0\0\0-\0"}
    return _profile(b"GRAY", tags | {b"kTRC": curve})


def gamma_curve(gamma: float) -> bytes:
    """Return a gamma curve with this exponent."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def srgb_curve() -> bytes:
    """Return the curve of sRGB, in 1024 steps."""
    levels = [_linear(step / 1023) for step in range(1024)]
    return struct.pack(">4sII1024H", b"curv", 0, 1024, *(round(65535 * level) for level in levels))


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Return the PNG with one more chunk after its header."""
    body = kind + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]


def _linear(level: float) -> float:
    return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(data), len(content))
        data += content + b"\0" * (-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", start + len(data), b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ "
    )
    head += struct.pack(">6H4s", 2025, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return head.ljust(128, b"\0") + table + data


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _text(name: str) -> bytes:
    ascii_name = name.encode("ascii") + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(ascii_name)) + ascii_name + bytes(78)
