"""Looks at what the service stands on, over connections of its own that are closed again.

A look tells what holds now. The connections that payments use may know an outage only later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.aio.client import Client
from nats.errors import Error as NatsError

from adapters.postgres.store import PostgresStore
from coordinator.domain.errors import StoreUnavailable
from coordinator.ports import DatabaseFacts, Reach, Reached

TIMEOUT_S = 2.0
"""How long a look may take, in seconds."""
DATABASE_TIMEOUT_S = 5.0
"""How long the database may take, in seconds: less than whoever asks waits for all looks."""
_OPTIONS = (("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0))


class SystemSurroundings:
    """Implements `coordinator.ports.Surroundings`.

    `addresses` are the participants', by name; without a `nats_url` there is no broker.
    """

    def __init__(
        self,
        store: PostgresStore,
        addresses: Mapping[str, str],
        nats_url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        database_timeout_s: float = DATABASE_TIMEOUT_S,
    ) -> None:
        self._store = store
        self._addresses = dict(addresses)
        self._nats_url = nats_url
        self._timeout_s = timeout_s
        self._database_timeout_s = database_timeout_s

    async def database(self) -> DatabaseFacts:
        """See `Surroundings.database`."""
        try:
            async with asyncio.timeout(self._database_timeout_s):
                return await self._store.facts()
        except TimeoutError:
            detail = f"it did not answer within {self._database_timeout_s:g} s"
            raise StoreUnavailable(detail) from None

    async def participant(self, name: str) -> Reached:
        """See `Surroundings.participant`."""
        async with grpc.aio.insecure_channel(self._addresses[name], options=_OPTIONS) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            try:
                answer = await check(health_pb2.HealthCheckRequest(), timeout=self._timeout_s)
            except grpc.aio.AioRpcError as error:
                return _unanswered(error)
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return Reached(Reach.SERVING)
        return Reached(Reach.NOT_SERVING, "it says that it does not serve at the moment")

    async def broker(self) -> Reached | None:
        """See `Surroundings.broker`."""
        if not self._nats_url:
            return None
        client = Client()
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.connect(self._nats_url, allow_reconnect=False, error_cb=_ignore)
                await client.jetstream().account_info()
        except (NatsError, OSError, TimeoutError, ValueError, KeyError) as error:
            return Reached(Reach.UNREACHABLE, f"NATS with JetStream: {type(error).__name__}")
        finally:
            await client.close()
        return Reached(Reach.SERVING)


def _unanswered(error: grpc.aio.AioRpcError) -> Reached:
    code = error.code()
    if code in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND}:
        return Reached(Reach.NO_HEALTH_CHECK, "it answers, but knows no health checks")
    return Reached(Reach.UNREACHABLE, f"it did not answer a health check: {code.name}")


async def _ignore(error: Exception) -> None:
    """nats-py prints connection errors otherwise; what went wrong is raised as well."""
