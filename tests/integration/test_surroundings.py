"""What operators are told of the participants, the broker and the database, each a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from adapters.embedded.nats import EmbeddedNats
from adapters.postgres.migrate import head_revision, migrate
from adapters.postgres.store import PostgresStore
from adapters.sealing import Sealer
from adapters.surroundings import SystemSurroundings
from adapters.system import SystemClock
from coordinator.domain.errors import StoreUnavailable
from coordinator.ports import DatabaseFacts, Reach, Reached

NOWHERE = "127.0.0.1:1"


@contextmanager
def serving(status: Any) -> Iterator[str]:
    """The address of a server with this health; None: it knows no health checks."""
    server = grpc.server(ThreadPoolExecutor(1))
    if status is not None:
        service = health.HealthServicer()
        service.set("", status)
        health_pb2_grpc.add_HealthServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def look(address: str = NOWHERE, nats_url: str = "") -> SystemSurroundings:
    store: Any = None
    return SystemSurroundings(store, {"card": address}, nats_url, timeout_s=1.0)


@pytest.mark.parametrize(
    ("status", "reach"),
    [
        (health_pb2.HealthCheckResponse.SERVING, Reach.SERVING),
        (health_pb2.HealthCheckResponse.NOT_SERVING, Reach.NOT_SERVING),
        (None, Reach.NO_HEALTH_CHECK),
    ],
)
def test_a_participant_is_asked_whether_it_serves(status: Any, reach: Reach) -> None:
    with serving(status) as address:
        found = asyncio.run(look(address).participant("card"))
    assert found.reach is reach
    assert bool(found.detail) == (reach is not Reach.SERVING)


def test_a_participant_that_is_not_there_is_unreachable() -> None:
    found = asyncio.run(look().participant("card"))
    detail = "it did not answer a health check: UNAVAILABLE"
    assert found == Reached(Reach.UNREACHABLE, detail)


def test_a_broker_is_reached_when_it_takes_events(tmp_path: Path) -> None:
    assert asyncio.run(look().broker()) is None
    with EmbeddedNats(tmp_path / "nats") as nats:
        assert asyncio.run(look(nats_url=nats.url).broker()) == Reached(Reach.SERVING)
        url = nats.url
    gone = asyncio.run(look(nats_url=url).broker())
    assert gone is not None
    assert gone.reach is Reach.UNREACHABLE
    assert gone.detail.startswith("NATS with JetStream: ")


def test_a_database_that_says_nothing_is_not_waited_for_until_its_caller_gives_up() -> None:
    class Silent:
        async def facts(self) -> DatabaseFacts:
            await asyncio.Event().wait()
            raise AssertionError

    store: Any = Silent()
    surroundings = SystemSurroundings(store, {}, "", database_timeout_s=0.05)
    with pytest.raises(StoreUnavailable) as caught:
        asyncio.run(surroundings.database())
    assert caught.value.detail == "it did not answer within 0.05 s"


def test_the_database_tells_its_time_and_its_schema(new_database: Callable[[], str]) -> None:
    url = new_database()
    migrate(url)

    async def ask() -> None:
        store = PostgresStore(url, owner="test", sealer=Sealer([b"k" * 32]))
        await store.start()
        facts = await SystemSurroundings(store, {}, "").database()
        await store.close()
        assert (facts.revision, facts.needed) == (head_revision(), head_revision())
        assert abs(facts.now - SystemClock().now()) < timedelta(seconds=10)

    asyncio.run(ask())
