"""Ports of loopback: a free one, and whether somebody listens."""

import asyncio
import contextlib
import socket

# Modal reaches a server from outside its container: one that listens on 127.0.0.1 alone is not
# reached. Nor is it under another address of loopback, while one on 0.0.0.0 is.
OUTSIDE = "127.0.0.2"


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


async def listens(port: int) -> bool:
    """Return whether a container takes connections from outside on a port."""
    try:
        _, writer = await asyncio.open_connection(OUTSIDE, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
