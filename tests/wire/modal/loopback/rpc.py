"""Routes each RPC of Modal's API to the part that serves it, and records the ones nobody serves."""

import asyncio
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

from tests.wire.modal.loopback.settings import Settings

Method = TypeVar("Method", bound=Callable[..., object])
# Messages are of 285 types; each handler's own signature names its two.
Message = Any
Serve = Callable[[Message, "Caller"], Awaitable[Message]]
ServeMany = Callable[[Message, "Caller"], AsyncIterator[Message]]
Listener = Callable[[str, "Caller"], Awaitable[None]]


@dataclass(frozen=True)
class Caller:
    """Who speaks: the container of this id, or a client outside (no id)."""

    container_id: str | None = None


class NotServedError(Exception):
    """A request wants what the loopback does not do; the text names it."""


@dataclass(frozen=True)
class Broken:
    """A handler that raised what it should not: a bug of the loopback."""

    rpc: str
    traceback: str


def rpc(method: Method) -> Method:
    """Mark a method as the handler of the RPC with its name in camel case."""
    method.__dict__["serves"] = "".join(part.capitalize() for part in method.__name__.split("_"))
    return method


class _Table:
    """Stands for a servicer while its table of RPCs is read."""

    def __getattr__(self, name: str) -> None:
        return None


_TABLE = ModalClientBase.__mapping__(cast("ModalClientBase", _Table()))


# What the service refuses once a workspace has spent its limit.
_COSTS = ("FunctionMap", "FunctionPutInputs", "AppCreate", "AppGetOrCreate", "AppPublish")


class Router:
    """What every connection's servicer shares.

    Attributes:
        counts: How often each RPC was called.
        unimplemented: RPCs that were asked for and that no part serves, and parts of requests
            that no part does, in their order.
        broken: Handlers that raised something unexpected.
        guards: Called before an RPC is served; one that raises `GRPCError` refuses it.
        listeners: Called when an RPC was served, before it is answered: one that does not return
            withholds the answer, and one that raises `GRPCError` loses it.
        heard: Is told the name and the request of each RPC; a test may replace it.
    """

    def __init__(self, parts: Sequence[object], settings: Settings) -> None:
        self._settings = settings
        self.counts: Counter[str] = Counter()
        self.unimplemented: list[str] = []
        self.broken: list[Broken] = []
        self.guards: list[Listener] = []
        self.listeners: list[Listener] = []
        self.heard: Callable[[str, Message], None] = lambda _name, _request: None
        self._serving = dict(_handlers(parts))
        unknown = set(self._serving) - {path.rsplit("/", 1)[1] for path in _TABLE}
        if unknown:
            raise ValueError(f"Modal's API has no RPC of the name {', '.join(sorted(unknown))}.")

    def servicer(self, caller: Caller) -> "_Servicer":
        """Return what grpclib serves on the connections of `caller`."""
        return _Servicer(self, caller)

    async def serve(self, name: str, stream: Stream[Any, Any], caller: Caller) -> None:
        """Answer one call of the RPC `name`."""
        self.counts[name] += 1
        request = await stream.recv_message()
        self.heard(name, request)
        await asyncio.sleep(self._settings.rpc_delay_seconds)
        self._refuse(name, request)
        for guard in self.guards:
            await guard(name, caller)
        handler = self._serving.get(name)
        if handler is None:
            self.unimplemented.append(name)
            raise GRPCError(Status.UNIMPLEMENTED, f"The loopback does not serve {name}.")
        try:
            await self._answer(name, handler, stream, request, caller)
        except (GRPCError, ConnectionError):
            raise
        except NotServedError as error:
            self.unimplemented.append(str(error))
            raise GRPCError(Status.UNIMPLEMENTED, f"The loopback has no {error}.") from error
        except Exception as error:
            # Not INTERNAL: the client would retry a bug until the test's time is up.
            self.broken.append(Broken(name, traceback.format_exc()))
            raise GRPCError(
                Status.DATA_LOSS, f"Bug of the loopback in {name}: {error!r}"
            ) from error

    def _refuse(self, name: str, request: Message) -> None:
        """Refuse what the service has no room for at the moment.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED.
        """
        unknown = api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED
        is_look_up = name == "AppGetOrCreate" and request.object_creation_type == unknown
        if name in _COSTS and not is_look_up and self._settings.is_spend_limit_reached:
            text = "workspace billing cycle spend limit reached"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, text)
        if name.startswith("Dict") and self._settings.are_dicts_busy:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "Too many requests. Please wait and retry.")

    async def _answer(
        self,
        name: str,
        handler: Callable[..., Any],
        stream: Stream[Any, Any],
        request: Message,
        caller: Caller,
    ) -> None:
        answer = handler(request, caller)
        if isinstance(answer, AsyncIterator):
            async for reply in cast("AsyncIterator[Message]", answer):
                await stream.send_message(reply)
            await self._tell(name, caller)
            return
        reply = await answer
        await self._tell(name, caller)
        await stream.send_message(reply)

    async def _tell(self, name: str, caller: Caller) -> None:
        for listen in self.listeners:
            await listen(name, caller)


def _handlers(parts: Sequence[object]) -> list[tuple[str, Callable[..., Any]]]:
    found: list[tuple[str, Callable[..., Any]]] = []
    for part in parts:
        for name in dir(type(part)):
            served = getattr(getattr(type(part), name), "__dict__", {}).get("serves")
            if served is not None:
                found.append((served, getattr(part, name)))
    return found


class _Servicer:
    """All RPCs, spoken by one caller."""

    def __init__(self, router: Router, caller: Caller) -> None:
        self._router, self._caller = router, caller

    def __mapping__(self) -> Mapping[str, Handler]:
        return {path: self._bind(path, handler) for path, handler in _TABLE.items()}

    def _bind(self, path: str, handler: Handler) -> Handler:
        name = path.rsplit("/", 1)[1]

        async def serve(stream: Stream[Any, Any]) -> None:
            await self._router.serve(name, stream, self._caller)

        return handler._replace(func=serve)
