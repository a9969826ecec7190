"""A gRPC server for a participant: its limits, its health service, its start and its stop.

A service of your own needs only `serve_fence`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc

from participants.fence import Fence
from participants.service import ParticipantService

MAX_REQUEST_BYTES = 64 * 1024
MAX_CALLS = 4_000
"""Calls that may be waiting or running at once; more are answered RESOURCE_EXHAUSTED."""

_SERVICE = pb.DESCRIPTOR.services_by_name["ParticipantService"].full_name
_log = structlog.get_logger("kessai.participant")

OnReady: TypeAlias = Callable[[str], None]
Run: TypeAlias = Callable[[asyncio.Event, OnReady], Awaitable[None]]
"""Serves until the event is set; tells `HOST:PORT` when it answers."""


def serve_fence(
    fence: Fence,
    *,
    listen: str,
    threads: int = 16,
    grace_s: float = 5.0,
    on_ready: OnReady | None = None,
) -> None:
    """Serves a fence until SIGTERM or SIGINT, then lets running requests finish.

    For the main thread.

    listen    `HOST:PORT`; port 0 takes a free one
    threads   how many requests use the database at once
    grace_s   how long a stop waits for running requests, in seconds
    on_ready  is told `HOST:PORT` with the real port once requests are answered

    Raises RuntimeError when the address cannot be bound.
    """

    async def run(stop: asyncio.Event, ready: OnReady) -> None:
        with ThreadPoolExecutor(threads, "fence") as executor:
            service = ParticipantService(fence, executor)
            await serve_until(stop, service, listen=listen, on_ready=ready, grace_s=grace_s)

    run_until_signal(run, on_ready)


async def serve_until(
    stop: asyncio.Event,
    service: ParticipantService,
    *,
    listen: str,
    on_ready: OnReady,
    grace_s: float = 5.0,
) -> None:
    """Serves until `stop` is set. Raises RuntimeError when the address cannot be bound."""
    server = grpc.aio.server(
        maximum_concurrent_rpcs=MAX_CALLS,
        options=[
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.so_reuseport", 0),
            ("grpc.server.max_pending_requests", MAX_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", MAX_CALLS),
        ],
    )
    checks = HealthServicer()
    rpc.add_ParticipantServiceServicer_to_server(service, server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port(listen)
    for checked in ("", _SERVICE):
        await checks.set(checked, health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    address = f"{listen.rpartition(':')[0]}:{port}"
    _log.info("ready", address=address)
    try:
        on_ready(address)
        await stop.wait()
    finally:
        _log.info("stopping", address=address)
        await checks.enter_graceful_shutdown()
        service.end_streams()
        await server.stop(grace_s)


def run_until_signal(run: Run, on_ready: OnReady | None = None) -> None:
    """Runs `run` in an event loop of its own until SIGTERM or SIGINT. For the main thread."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(stop, on_ready or (lambda _address: None))

    asyncio.run(main())


@contextlib.contextmanager
def run_in_thread(run: Run) -> Iterator[str]:
    """Runs `run` in a thread of this process while the block runs; gives `HOST:PORT`. For tests."""
    ready: Future[tuple[str, Callable[[], object]]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_ready(address: str) -> None:
            ready.set_result((address, lambda: loop.call_soon_threadsafe(stop.set)))

        await run(stop, on_ready)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=work, name="participant")
    thread.start()
    try:
        address, stop = ready.result()
        try:
            yield address
        finally:
            stop()
    finally:
        thread.join()
