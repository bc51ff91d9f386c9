"""The real client asks a server on loopback for the rates of its workspace."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import modal
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from modal_proto import api_pb2

from storage.modal.runtime import open_runtime
from training.deployment.modal_prices import RATES, ModalPrices
from training.deployment.names import Deployment
from training.estimates.prices import listed_prices

ENOUGH = 30.0  # seconds
# As the service gives them: text, in dollars an hour.
HOURLY = {name: f"{number}.50000" for number, name in enumerate(RATES.values(), start=1)}
OTHERS = {
    "cpu_hour_cost": "0.04730",
    "mem_gib_hour_cost": "0.00800",
    "volume_storage_gib_month_cost": "0.09000",
}


@dataclass
class Workspace:
    """The three calls that the client makes; the last may be refused."""

    rates: Mapping[str, str] = field(default_factory=lambda: {**HOURLY, **OTHERS})
    refusal: Status | None = None

    def __mapping__(self) -> Mapping[str, Handler]:
        name = api_pb2.WorkspaceNameLookupResponse(username="team")
        return {
            **_unary("ClientHello", Empty, api_pb2.ClientHelloResponse),
            **_unary("WorkspaceNameLookup", Empty, lambda: name),
            **_unary("WorkspaceBillingRates", api_pb2.WorkspaceBillingRatesRequest, self._rates),
        }

    def _rates(self) -> Message:
        if self.refusal is not None:
            raise GRPCError(self.refusal, "Not for this account.")
        return api_pb2.WorkspaceBillingRatesResponse(rates=self.rates)


def _unary(name: str, request: type[Message], reply: Callable[[], Message]) -> dict[str, Handler]:
    async def serve(stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        await stream.send_message(reply())

    call: Callable[[Stream[Any, Any]], Awaitable[None]] = serve
    handler = Handler(call, Cardinality.UNARY_UNARY, request, Message)
    return {f"/modal.client.ModalClient/{name}": handler}


@pytest.fixture
async def workspace(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workspace]:
    served = Workspace()
    server, listening = Server([served]), socket.create_server(("127.0.0.1", 0))
    await server.start(sock=listening)
    variables = {
        "MODAL_SERVER_URL": f"http://127.0.0.1:{listening.getsockname()[1]}",
        "MODAL_TOKEN_ID": "ak-test",
        "MODAL_TOKEN_SECRET": "as-test",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield served
    # One client for the process: the next test has another server.
    await asyncio.to_thread(lambda: modal.Client.from_env().close())
    server.close()
    await server.wait_closed()


async def test_the_workspaces_rates_are_read_by_the_hour(workspace: Workspace) -> None:
    found = await asyncio.to_thread(ModalPrices(wait_seconds=ENOUGH).live)

    assert found is not None
    assert found.is_live
    hourly = {gpu: found.usd_per_hour(gpu) for gpu in RATES}
    assert hourly == pytest.approx({gpu: float(HOURLY[name]) for gpu, name in RATES.items()})


async def test_a_deployment_takes_its_prices_from_its_workspace(workspace: Workspace) -> None:
    runtime = open_runtime(Deployment()).runtime

    async with asyncio.timeout(ENOUGH):
        # Whoever asks waits a moment only; a later answer is there for the next one.
        while not (found := await asyncio.to_thread(runtime.prices)).is_live:
            pass

    assert found.usd_per_hour("H100") == pytest.approx(float(HOURLY[RATES["H100"]]))


@pytest.mark.parametrize("status", [Status.PERMISSION_DENIED, Status.UNIMPLEMENTED])
async def test_an_account_without_them_gets_the_dated_list(
    workspace: Workspace, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.refusal = status

    found = await asyncio.to_thread(ModalPrices(wait_seconds=ENOUGH).prices)

    assert found is listed_prices()
    assert "Not for this account." in caplog.text


async def test_rates_that_are_no_numbers_are_not_used(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.rates = {**HOURLY, RATES["H100"]: "ask us"}

    found = await asyncio.to_thread(ModalPrices(wait_seconds=ENOUGH).prices)

    assert found is listed_prices()
    assert "using the list of 2026-07-01" in caplog.text
