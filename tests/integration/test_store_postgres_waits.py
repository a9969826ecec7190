"""The store while somebody else keeps a row locked, or the other end has gone silent."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa

from adapters.postgres.fields import Write
from adapters.postgres.sql_store import SqlStore
from adapters.postgres.statements import PostgresStatements
from adapters.postgres.watchdog import Watchdog
from adapters.sealing import Sealer
from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.transaction import Change, Transaction
from coordinator.ports import CommitResult, Committed, KeyTaken, OrderTaken
from tests.support.stores import KEY, PostgresStores
from tests.support.transactions import committed, creation, new_id, opened, touched


@pytest.fixture
def stores(new_database: Callable[[], str]) -> Iterator[PostgresStores]:
    made = PostgresStores(new_database())
    yield made
    made.close()


@contextmanager
def _locked(stores: PostgresStores, *locked: Transaction) -> Iterator[None]:
    ids = ", ".join(f"'{each.id}'" for each in locked)
    with stores.connect() as connection, connection.begin():
        connection.exec_driver_sql(f"SELECT FROM transactions WHERE id IN ({ids}) FOR UPDATE")
        yield


def _insert(connection: sa.Connection, change: Change) -> None:
    write = Write(change, change.after, None, "another/1")
    assert PostgresStatements(Sealer(KEY), 30.0).insert(connection, [write]) == {change.after.id}


async def _made(store: SqlStore, number: int) -> list[Transaction]:
    results = await asyncio.gather(*(store.commit(creation()) for _ in range(number)))
    return [result.transaction for result in results if isinstance(result, Committed)]


async def _within(
    seconds: float, store: SqlStore, *changes: Change
) -> list[CommitResult | BaseException]:
    commits = (store.commit(change) for change in changes)
    async with asyncio.timeout(seconds):
        return await asyncio.gather(*commits, return_exceptions=True)


def _kinds(results: list[CommitResult | BaseException]) -> list[type]:
    return [type(result) for result in results]


@pytest.mark.parametrize("culprits", [1, 8])
def test_locked_rows_fail_their_own_writes_and_the_neighbours_are_made_soon(
    stores: PostgresStores, culprits: int
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await _made(store, 256)
            locked = stood[3 :: 256 // culprits][:culprits]
            with _locked(stores, *locked):
                results = await _within(8, store, *(touched(each) for each in stood))
                for each, result in zip(stood, results, strict=True):
                    assert isinstance(result, StoreUnavailable if each in locked else Committed)
                # Somebody keeps trying the locked row: whoever comes along or after is served.
                again = [touched(locked[0]), *(creation() for _ in range(20))]
                results = await _within(5, store, *again)
                assert _kinds(results) == [StoreUnavailable] + [Committed] * 20
                assert _kinds(await _within(2, store, creation())) == [Committed]
            assert _kinds(await _within(2, store, touched(locked[0]))) == [Committed]

    asyncio.run(scenario())


def test_a_key_whose_creation_is_under_way_elsewhere_fails_only_its_own_repeat(
    stores: PostgresStores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await _made(store, 20)
            frozen = creation(opened(key="k"))
            repeat = creation(opened(key="k"))
            new = [creation() for _ in range(100)]
            with stores.connect() as connection, connection.begin():
                _insert(connection, frozen)
                moves = [touched(each) for each in stood]
                results = await _within(6, store, repeat, *moves, *new)
                assert _kinds(results) == [StoreUnavailable] + [Committed] * 120
            assert await store.commit(repeat) == KeyTaken(frozen.after.id)

    asyncio.run(scenario())


def test_a_table_that_is_locked_as_a_whole_is_waited_for_a_bounded_time(
    stores: PostgresStores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await _made(store, 256)
            with stores.connect() as connection, connection.begin():
                connection.exec_driver_sql("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
                results = await _within(12, store, *(touched(each) for each in stood))
                assert set(_kinds(results)) == {StoreUnavailable}
            assert _kinds(await _within(2, store, touched(stood[0]))) == [Committed]

    asyncio.run(scenario())


def test_a_frozen_coordinator_does_not_keep_its_locks(stores: PostgresStores) -> None:
    async def scenario() -> None:
        async with (
            stores.open(statement_timeout_s=0.3) as frozen,
            stores.open("two", lock_timeout_s=9.0) as other,
        ):
            stood = await committed(other, creation())
            with stores.engine_of(frozen).connect() as connection:
                connection.exec_driver_sql("SELECT FROM transactions FOR UPDATE")
                assert _kinds(await _within(8, other, touched(stood))) == [Committed]
                with pytest.raises(sa.exc.DBAPIError):
                    connection.exec_driver_sql("SELECT 1")

    asyncio.run(scenario())


@contextmanager
def _stopped(stores: PostgresStores) -> Iterator[list[int]]:
    """Stops the server's processes of every connection that is open, but for our own."""
    rows = stores.rows(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
        " AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    pids: list[int] = [row[0] for row in rows]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_server_process_that_hangs_is_given_up_and_everything_is_done_on_a_new_connection(
    stores: PostgresStores,
) -> None:
    async def scenario() -> None:
        async with stores.open(statement_timeout_s=0.5, silence_s=0.5) as store:
            stood = await committed(store, creation())
            with _stopped(stores) as pids:
                assert pids
                results = await _within(10, store, creation(), touched(stood), creation())
                assert _kinds(results) == [Committed] * 3
            await asyncio.gather(*(store.ping() for _ in range(4)))
            with _stopped(stores) as pids:
                assert pids
                async with asyncio.timeout(10):
                    await asyncio.gather(*(store.ping() for _ in range(4)), store.claim_due(1))
            assert _kinds(await _within(2, store, creation())) == [Committed]

    asyncio.run(scenario())


def test_whoever_looks_at_everything_keeps_no_reader_of_payments_waiting(
    stores: PostgresStores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            with stores.connect() as connection, connection.begin():
                connection.exec_driver_sql("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
                looking = [asyncio.ensure_future(store.census()) for _ in range(8)]
                await asyncio.sleep(0.1)  # noqa: TID251 - they have begun, or wait their turn
                async with asyncio.timeout(0.5):
                    assert await store.get(stood.id) == stood
            await asyncio.gather(*looking)

    asyncio.run(scenario())


def test_a_watchdog_leaves_alone_what_ends_in_time_and_can_be_closed_twice(
    stores: PostgresStores,
) -> None:
    watchdog = Watchdog(0.2)
    url = sa.make_url(stores.url).set(drivername="postgresql")
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    cursor = connection.cursor()
    for _ in range(8):
        with watchdog.over(connection):
            cursor.execute("SELECT pg_sleep(0.05)")
    with pytest.raises(psycopg2.OperationalError), watchdog.over(connection):
        cursor.execute("SELECT pg_sleep(20)")
    assert connection.closed
    with watchdog.over(connection):
        threading.Event().wait(0.4)  # a closed connection has no socket to shut down
    watchdog.close()
    watchdog.close()


def test_a_repeat_is_never_told_that_its_own_payment_has_its_order(stores: PostgresStores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            first = await committed(store, creation(opened(order_id="o")))
            own = creation(opened(key="k", order_id="o"))
            found: list[str] = []

            def meanwhile(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
                if not statement.startswith("SELECT") or "idempotency_key" not in statement:
                    return
                found.append(statement)
                if len(found) > 1:
                    return
                with stores.connect() as connection, connection.begin():
                    connection.exec_driver_sql(
                        "UPDATE transactions SET state = 'CANCELLING', failure_code = 'X',"
                        " failure_reason = '', failure_phase = ''"
                    )
                    _insert(connection, own)

            sa.event.listen(stores.engine_of(store), "after_cursor_execute", meanwhile)
            repeat = creation(opened(key="k", order_id="o", transaction_id=new_id()))
            assert await store.commit(repeat) == OrderTaken(first.id), "who had it at that moment"
            assert found
            assert await store.commit(repeat) == KeyTaken(own.after.id)

    asyncio.run(scenario())
