"""The gRPC server: PaymentService, health, and reflection where it is switched on.

A process that only works (KESSAI_ROLE=work) serves health alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from kessai.admin.v1 import admin_pb2, admin_pb2_grpc
from kessai.participant.v1 import callbacks_pb2, callbacks_pb2_grpc
from kessai.payments.v1 import payments_pb2, payments_pb2_grpc

from coordinator.domain.errors import ConfigurationError
from coordinator.rpc.admin import MAX_ADMIN_CALLS, AdminServicer
from coordinator.rpc.callbacks import CallbackServicer
from coordinator.rpc.gate import Unread
from coordinator.rpc.payments import PaymentServicer

SERVICE = payments_pb2.DESCRIPTOR.services_by_name["PaymentService"].full_name
CALLBACKS = callbacks_pb2.DESCRIPTOR.services_by_name["CallbackService"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
HARD_LIMIT_BYTES = 1024 * 1024
"""Above this gRPC itself hangs up; below it the gate refuses politely."""


Served: TypeAlias = tuple[str, Any, Callable[[Any, Any], None]]
"""A service's full name, its servicer, and the generated function that adds it to a server."""


class GrpcServer:
    """Services on one address, with health checks.

    setting        what says `listen`, for the error when it cannot be bound
    max_in_flight  the gate's limit of calls at once
    shared         whether other processes serve the same address (SO_REUSEPORT)
    interceptors   of calls (`grpc.aio.ServerInterceptor`), health checks and all
    """

    def __init__(
        self,
        services: Iterable[Served],
        *,
        setting: str,
        listen: str,
        max_in_flight: int,
        reflect: bool,
        shared: bool = False,
        interceptors: Sequence[Any] = (),
    ) -> None:
        # gRPC sheds calls that wait to be accepted, with a bare CANCELLED. Both of its limits stand
        # well above our own, so that it is the gate that refuses, and says why.
        pending = max(4 * max_in_flight, 10_000)
        self._server = grpc.aio.server(
            interceptors=interceptors,
            options=[
                ("grpc.so_reuseport", int(shared)),
                ("grpc.max_receive_message_length", HARD_LIMIT_BYTES),
                ("grpc.server.max_pending_requests", pending),
                ("grpc.server.max_pending_requests_hard_limit", 2 * pending),
            ],
        )
        handlers = {name: _handlers(name, servicer, add) for name, servicer, add in services}
        self._server.add_generic_rpc_handlers(tuple(handlers.values()))
        self._names = ("", *handlers)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # stubs: sync only
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflect:
            names = (*handlers, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        try:
            self.port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise ConfigurationError(
                f"{setting}: {listen} cannot be bound; is another server running there?"
            ) from error
        self.address = f"{listen.rsplit(':', 1)[0]}:{self.port}"

    async def start(self) -> None:
        """Serves, and says so to health checks."""
        await self._server.start()
        await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def refuse(self) -> None:
        """Says NOT_SERVING. It is the gate that refuses, with a reason."""
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self) -> None:
        """Says NOT_SERVING and ends whatever is under way.

        gRPC ends calls that arrive at this very moment with a bare CANCELLED, and has no way to
        refuse new ones without doing so; therefore the gate refuses first, while calls end.
        """
        await self.refuse()
        await self._server.stop(None)

    async def _tell(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in self._names:
            await self._health.set(name, status)


class Server(GrpcServer):
    """PaymentService and CallbackService; without them (None), health alone."""

    def __init__(
        self,
        servicer: PaymentServicer | None,
        callbacks: CallbackServicer | None,
        *,
        listen: str,
        max_in_flight: int,
        reflect: bool,
        shared: bool = False,
        interceptors: Sequence[Any] = (),
    ) -> None:
        services: tuple[Served, ...] = (
            (SERVICE, servicer, payments_pb2_grpc.add_PaymentServiceServicer_to_server),
            (CALLBACKS, callbacks, callbacks_pb2_grpc.add_CallbackServiceServicer_to_server),
        )
        super().__init__(
            (served for served in services if served[1] is not None),
            setting="KESSAI_LISTEN",
            listen=listen,
            max_in_flight=max_in_flight,
            reflect=reflect,
            shared=shared,
            interceptors=interceptors,
        )


class AdminServer(GrpcServer):
    """AdminService, on an address of its own."""

    def __init__(self, servicer: AdminServicer, *, listen: str, reflect: bool) -> None:
        super().__init__(
            [(ADMIN, servicer, admin_pb2_grpc.add_AdminServiceServicer_to_server)],
            setting="KESSAI_ADMIN_LISTEN",
            listen=listen,
            max_in_flight=MAX_ADMIN_CALLS,
            reflect=reflect,
        )
        self._gate = servicer.gate

    @property
    def calls(self) -> int:
        """How many calls are being served now."""
        return self._gate.calls

    async def refuse(self) -> None:
        """Says NOT_SERVING and refuses new calls; those under way go on."""
        self._gate.close()
        await super().refuse()


class _Collector:
    """Takes the place of a server, to get at the handlers that the generated code makes."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Nothing: the same handlers come once more below, by name."""

    def add_registered_method_handlers(self, _service: str, handlers: dict[str, Any]) -> None:
        self.handlers = handlers


def _handlers(
    service: str, servicer: Any, add: Callable[[Any, Any], None]
) -> grpc.GenericRpcHandler[Any, Any]:
    """A service's methods, their requests left to the gate to parse."""
    collector = _Collector()
    add(servicer, collector)
    handlers = {
        name: handler._replace(
            request_deserializer=partial(Unread, name, handler.request_deserializer)
        )
        for name, handler in collector.handlers.items()
    }
    return grpc.method_handlers_generic_handler(service, handlers)
