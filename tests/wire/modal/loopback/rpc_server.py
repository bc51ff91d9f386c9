"""A gRPC server that closes all open connections when it stops."""

import asyncio
import socket
from pathlib import Path

from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, H2Protocol
from grpclib.server import Server
from h2.config import H2Configuration
from modal._utils.grpc_utils import custom_detail_codec

from tests.wire.modal.loopback.rpc import Caller, Router


class RpcServer(Server):
    """Serves one caller's RPCs on a port of loopback or on a Unix socket."""

    def __init__(self, router: Router, caller: Caller) -> None:
        super().__init__([router.servicer(caller)], status_details_codec=custom_detail_codec)
        self._connected: list[_Connected] = []

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
            protocol.hang_up()
        await self.wait_closed()
        await asyncio.gather(*(protocol.lost.wait() for protocol in self._connected))

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        protocol = _Connected(made.handler, made.config, made.h2_config)
        self._connected.append(protocol)
        return protocol


class _Connected(H2Protocol):
    """A connection that tells when its socket is closed.

    Attributes:
        lost: Set while there is no connection: before it is made and after its socket is closed.
    """

    def __init__(
        self, handler: AbstractHandler, config: Configuration, h2_config: H2Configuration
    ) -> None:
        super().__init__(handler, config, h2_config)
        self.lost = asyncio.Event()
        self.lost.set()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.lost.clear()
        self._transport = transport
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.lost.set()

    def hang_up(self) -> None:
        """End the calls and close the socket, even if the client reads no more of it."""
        if isinstance(self._transport, asyncio.Transport):
            self.processor.close()
            self._transport.abort()


async def _some_rounds() -> None:
    for _ in range(4):
        await asyncio.sleep(0)
