"""A coordinator on a real socket over a real PostgreSQL, in a thread of the test's process.

Participants are models in memory, so that a test can say what they do and see what they did.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status
from kessai.admin.v1 import admin_pb2_grpc
from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from adapters.postgres.migrate import migrate
from adapters.postgres.store import PostgresStore
from adapters.sealing import Sealer
from adapters.surroundings import SystemSurroundings
from adapters.system import SystemClock, SystemIds, SystemRandomness
from coordinator.administration import admin_server
from coordinator.bootstrap import assemble, checked_flows, server_of
from coordinator.config import Settings, load
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Outcome
from coordinator.rpc.server import AdminServer
from coordinator.stopping import Stop
from coordinator.world import Coordinator, World
from fault_injection.model_participant import Fault, ModelParticipant, Script, no_faults
from fault_injection.world import Recorder
from phases.registry import PHASES

PARTICIPANTS = sorted({phase.participant for phase in PHASES.values()} - {""})
KEYS = {"shop": "shop-key", "rival": "rival-key"}


@dataclass
class Service:
    """A running coordinator, as its callers and its test see it."""

    address: str
    participants: dict[str, ModelParticipant]
    coordinator: Coordinator
    observer: Recorder
    loop: asyncio.AbstractEventLoop
    stop: Stop
    admin_server: AdminServer | None = None
    channels: dict[str, grpc.Channel] = field(default_factory=dict)

    def stub(self, caller: str = "shop") -> payments_pb2_grpc.PaymentServiceStub:
        """A stub whose calls carry the caller's key."""
        if caller not in self.channels:
            self.channels[caller] = grpc.intercept_channel(
                grpc.insecure_channel(self.address), _WithKey(KEYS.get(caller, caller))
            )
        return payments_pb2_grpc.PaymentServiceStub(self.channels[caller])

    @property
    def admin_address(self) -> str:
        """Where operators call; it runs with `admin_listen`."""
        assert self.admin_server is not None
        return self.admin_server.address

    def admin(self, key: str = "alice-key") -> admin_pb2_grpc.AdminServiceStub:
        """A stub of AdminService whose calls carry this key; it runs with `admin_listen`."""
        name = f"admin {key}"
        if name not in self.channels:
            self.channels[name] = grpc.intercept_channel(
                grpc.insecure_channel(self.admin_address), _WithKey(key)
            )
        return admin_pb2_grpc.AdminServiceStub(self.channels[name])

    def drain(self, seconds: float) -> Future[int]:
        """Stops it as SIGTERM would; how many transactions were given back."""
        return asyncio.run_coroutine_threadsafe(self.stop(seconds), self.loop)

    def on_loop(self, function: Any) -> Any:
        """Calls `function` in the service's thread and returns its result."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)


if TYPE_CHECKING:  # the stubs are generic, the classes are not
    _Unary = grpc.UnaryUnaryClientInterceptor[Any, Any]
    _Stream = grpc.UnaryStreamClientInterceptor[Any, Any]
else:
    _Unary, _Stream = grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor


class _WithKey(_Unary, _Stream):
    def __init__(self, key: str) -> None:
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()

    def _details(self, details: Any) -> Any:
        changed = grpc.ClientCallDetails()
        changed.method, changed.timeout = details.method, details.timeout
        changed.metadata = (*(details.metadata or ()), *self._metadata)
        changed.credentials = changed.wait_for_ready = changed.compression = None
        return changed

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._details(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._details(details), request)


def settings(url: str, **changes: Any) -> Settings:
    """Settings for a test; `changes` override them."""
    return load(
        **{
            "database_url": url,
            "listen": "127.0.0.1:0",
            "reflection": True,
            "participants": dict.fromkeys(PARTICIPANTS, "127.0.0.1:1"),
            "callers": {
                name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()
            },
            "seal_keys": (base64.b64encode(b"k" * 32).decode(),),
        }
        | changes
    )


Models = dict[str, ModelParticipant]


class SharedParticipant(ModelParticipant):
    """A model that two services in two threads may use at once."""

    _lock = threading.Lock()

    def _apply(self, transaction_id: TransactionId, call: Call, fault: Fault | None) -> Outcome:
        with self._lock:
            return super()._apply(transaction_id, call, fault)


def shared_models(script: Script = no_faults) -> Models:
    """Participants for `running`, for more than one service."""
    return {name: SharedParticipant(SystemClock(), script) for name in PARTICIPANTS}


@contextmanager
def running(
    url: str, script: Script = no_faults, *, models: Models | None = None, **changes: Any
) -> Iterator[Service]:
    """A service over the (empty or used) database at `url`, until the block ends.

    `models` are its participants, or None for new ones that follow `script`; `changes` are
    settings.
    """
    migrate(url)
    ready: threading.Event = threading.Event()
    box: dict[str, Any] = {}
    thread = threading.Thread(
        target=lambda: asyncio.run(
            _serve(
                settings(url, **changes),
                models or {name: ModelParticipant(SystemClock(), script) for name in PARTICIPANTS},
                box,
                ready,
            )
        )
    )
    thread.start()
    try:
        assert ready.wait(30), "the service did not start"
        if "error" in box:
            raise box["error"]
        yield box["service"]
    finally:
        if "service" in box:
            for channel in box["service"].channels.values():
                channel.close()
            box["service"].loop.call_soon_threadsafe(box["stopping"].set)
        thread.join(30)
        assert not thread.is_alive(), "the service did not stop"


async def _serve(
    configured: Settings, participants: Models, box: dict[str, Any], ready: threading.Event
) -> None:
    clock = SystemClock()
    observer = Recorder()
    ids = SystemIds()
    owner = ids.transaction_id()
    store = PostgresStore(
        configured.database_url.get_secret_value(),
        owner=owner,
        sealer=Sealer([b"k" * 32]),
        lease_s=configured.lease_s,
    )
    world = World(
        store=store,
        participants=participants,
        publisher=None,
        clock=clock,
        ids=ids,
        randomness=SystemRandomness(),
        observer=observer,
        surroundings=SystemSurroundings(store, configured.participants, configured.nats_url),
    )
    flows = checked_flows(configured)
    try:
        await store.start()
        coordinator = assemble(world, configured, flows=flows, owner=owner)
        server = server_of(coordinator, configured)
        admin = admin_server(world, coordinator, configured, flows=flows, owner=owner)
        if admin is not None:
            await admin.start()
        await coordinator.intake.run_once()
        await server.start()
        background = {
            service.name: asyncio.create_task(service.run()) for service in coordinator.services
        }
        stop = Stop(
            gate=coordinator.gate,
            server=server,
            admin=admin,
            driver=coordinator.driver,
            store=store,
            background=background,
            clock=clock,
            observer=observer,
        )
        box["stopping"] = asyncio.Event()
        box["service"] = Service(
            server.address,
            participants,
            coordinator,
            observer,
            asyncio.get_running_loop(),
            stop,
            admin,
        )
        ready.set()
        await box["stopping"].wait()
        await stop(0)
    except Exception as error:  # noqa: BLE001 - handed to the test's thread
        box["error"] = error
        ready.set()
    finally:
        await store.close()


@dataclass(frozen=True)
class Problem:
    """A gRPC error, unpacked."""

    status: grpc.StatusCode
    reason: str
    message: str
    facts: dict[str, str]
    fields: dict[str, str]
    retry: bool


def problem_of(error: Any) -> Problem:
    """What a gRPC error says in its details."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error.code()} {error.details()}"
    info, bad, retry = ErrorInfo(), BadRequest(), False
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(BadRequest.DESCRIPTOR):
            detail.Unpack(bad)
        elif detail.Is(RetryInfo.DESCRIPTOR):
            retry = True
    assert info.domain == "kessai"
    return Problem(
        status=error.code(),
        reason=info.reason,
        message=status.message,
        facts=dict(info.metadata),
        fields={item.field: item.reason for item in bad.field_violations},
        retry=retry,
    )


def yen(units: int) -> pb.Money:
    """So many yen."""
    return pb.Money(currency_code="JPY", minor_units=units)


def create_request(key: str = "key-1", **changes: Any) -> pb.CreatePaymentRequest:
    """600 points and 400 yen to shop-1."""
    values: dict[str, Any] = {
        "idempotency_key": key,
        "flow": "points_and_card",
        "amount": yen(1000),
        "tenders": [
            pb.Tender(method="points_reserve", source="alice", amount=yen(600)),
            pb.Tender(method="card_charge", source="tok_ok", amount=yen(400)),
        ],
        "merchant_id": "shop-1",
    }
    return pb.CreatePaymentRequest(**(values | changes))
