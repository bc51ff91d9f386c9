"""The layout of a safetensors file's header: its length, JSON padded with spaces, then the tensors.

This module imports only the standard library, because it also runs in musubi-tuner's environment.
"""

import json
from collections.abc import Mapping

# A file begins with the length of its header, a little-endian integer of 8 bytes. The header is
# padded to a multiple of 8 bytes.
LENGTH_BYTES = 8
METADATA = "__metadata__"
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def header_end(prefix: bytes) -> int | None:
    """Return where a file's header ends; None if its first `LENGTH_BYTES` announce no header."""
    length = int.from_bytes(prefix, "little")
    if len(prefix) != LENGTH_BYTES or length > _MAX_HEADER_BYTES:
        return None
    return LENGTH_BYTES + length


def packed(metadata: Mapping[str, str], tensors: Mapping[str, object]) -> bytes:
    """Return a header with its length in front; equal input in equal order gives equal bytes."""
    header = {METADATA: metadata, **tensors} if metadata else tensors
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
