"""A gRPC server that hangs up on whoever is still connected when it stops."""

import asyncio
import socket
from pathlib import Path

from grpclib.protocol import H2Protocol
from grpclib.server import Server
from modal._utils.grpc_utils import custom_detail_codec

from tests.wire.modal.loopback.rpc import Caller, Router


class RpcServer(Server):
    """Serves one caller's RPCs on a port of loopback or on a Unix socket."""

    def __init__(self, router: Router, caller: Caller) -> None:
        super().__init__([router.servicer(caller)], status_details_codec=custom_detail_codec)
        self._connected: list[H2Protocol] = []

    async def listen(self, path: Path | None = None) -> str:
        """Listen and return the address as the client takes it."""
        if path is not None:
            await self.start(path=str(path))
            return f"unix://{path}"
        listening = socket.create_server(("127.0.0.1", 0))
        # Inherited by every connection; asyncio sets it only where it made the socket itself, and
        # without it each answer waits 40 ms for an acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self.start(sock=listening)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def stop(self) -> None:
        """Stop listening and hang up."""
        self.close()
        await _some_rounds()  # whoever was just accepted is connected some rounds later
        for protocol in self._connected:
            if hasattr(protocol, "processor"):
                protocol.processor.close()
        await self.wait_closed()
        await _some_rounds()  # the transports close in the loop's next round

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._connected.append(protocol)
        return protocol


async def _some_rounds() -> None:
    for _ in range(4):
        await asyncio.sleep(0)
