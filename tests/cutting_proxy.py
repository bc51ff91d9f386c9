"""A proxy that cuts connections, for tests of transfers that continue."""

import select
import socket
import threading
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

_BLOCK_BYTES = 65_536
_UNLIMITED = 1 << 50


class CuttingProxy:
    """Forwards connections, and cuts each of the first ones after so many bytes of `side`.

    Attributes:
        cuts: The bytes after which the next connections are cut.
        sent_bytes: What has been forwarded of `side`.
    """

    def __init__(
        self, target: str, cuts: list[int], *, side: Literal["answers", "requests"] = "answers"
    ) -> None:
        self._is_up = side == "requests"
        self._target = (urlsplit(target).hostname or "", urlsplit(target).port or 0)
        self.cuts = cuts
        self.sent_bytes = 0
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _address = self._socket.accept()
                self.connections += 1
                room = self.cuts.pop(0) if self.cuts else _UNLIMITED
                thread = threading.Thread(target=self._forward, args=(client, room))
                self._threads.append(thread)
                thread.start()

    def _forward(self, client: socket.socket, room: int) -> None:
        with client, socket.create_connection(self._target) as server, suppress(OSError):
            counted, other = (client, server) if self._is_up else (server, client)
            while room > 0:
                readable, _, _ = select.select([client, server], [], [])
                if other in readable:
                    if not (passed := other.recv(_BLOCK_BYTES)):
                        return
                    counted.sendall(passed)
                if counted in readable:
                    if not (passed := counted.recv(min(room, _BLOCK_BYTES))):
                        return
                    other.sendall(passed)
                    room -= len(passed)
                    self.sent_bytes += len(passed)
