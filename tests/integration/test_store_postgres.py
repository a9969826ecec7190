"""What only a real PostgreSQL can show of the store: real errors, real outages, real migrations."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.postgres.connection import normalise_url
from adapters.postgres.documents import document, record_set
from adapters.postgres.fields import MOVING, Field, Kind
from adapters.postgres.migrate import current_revision, head_revision, migrate
from adapters.postgres.schema import metadata
from adapters.postgres.store import PostgresStore
from adapters.sealing import Sealer
from coordinator.domain.errors import Bug, ConfigurationError, StoreUnavailable
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Draft
from coordinator.ports import Committed, LostRace
from tests.support.stores import KEY, PostgresStores
from tests.support.transactions import (
    commit_of,
    committed,
    creation,
    opened,
    stepped,
    touched,
)

NewDatabase = Callable[[], str]


@pytest.fixture
def stores(new_database: NewDatabase) -> Iterator[PostgresStores]:
    made = PostgresStores(new_database())
    yield made
    made.close()


def _raise_once(engine: sa.Engine, sqlstate: str, times: int) -> list[str]:
    """The server itself raises `sqlstate` for the next writes."""
    raised: list[str] = []

    @sa.event.listens_for(engine, "after_cursor_execute")
    def after(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("WITH won") and len(raised) < times:
            raised.append(sqlstate)
            cursor.execute(f"DO $$BEGIN RAISE SQLSTATE '{sqlstate}'; END$$")

    return raised


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_serialization_failure_repeats_the_whole_group(
    stores: PostgresStores, sqlstate: str
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            raised = _raise_once(stores.engine_of(store), sqlstate, 4)
            results = await asyncio.gather(*(store.commit(creation()) for _ in range(5)))
            assert len(raised) == 4
            assert all(isinstance(result, Committed) for result in results)
            assert stores.rows("SELECT count(*) FROM journal") == [(5,)]
            _raise_once(stores.engine_of(store), sqlstate, 5)
            with pytest.raises(StoreUnavailable, match="repeat the call"):
                await store.commit(creation())
            await committed(store, creation())

    asyncio.run(scenario())


@pytest.mark.parametrize("sqlstate", ["53100", "53300", "55P03", "57014"])
def test_a_database_that_says_no_for_now_is_unavailable_and_wrote_nothing(
    stores: PostgresStores, sqlstate: str
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            raised = _raise_once(stores.engine_of(store), sqlstate, 1)
            with pytest.raises(StoreUnavailable) as caught:
                await store.commit(creation())
            assert raised == [sqlstate]
            assert sqlstate in caught.value.detail
            assert stores.rows("SELECT count(*) FROM transactions") == [(0,)]

    asyncio.run(scenario())


@pytest.mark.parametrize("sqlstate", ["55P03", "57014"])
def test_a_group_that_waited_for_a_lock_or_too_long_is_repeated_in_halves(
    stores: PostgresStores, sqlstate: str
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            raised = _raise_once(stores.engine_of(store), sqlstate, 2)
            results = await asyncio.gather(*(store.commit(creation()) for _ in range(8)))
            assert len(raised) == 2
            assert all(isinstance(result, Committed) for result in results)

    asyncio.run(scenario())


def test_a_broken_schema_is_our_bug_and_the_writer_lives_on(stores: PostgresStores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stores.execute("ALTER TABLE outbox RENAME TO elsewhere")
            results = await asyncio.gather(
                *(store.commit(creation()) for _ in range(3)), return_exceptions=True
            )
            assert [type(result) for result in results] == [Bug] * 3
            stores.execute("ALTER TABLE elsewhere RENAME TO outbox")
            await committed(store, creation())

    asyncio.run(scenario())


def test_text_that_postgresql_cannot_hold_fails_only_its_own_write(stores: PostgresStores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            for text in ("a\0b", "a\ud800b"):
                stood = [await committed(store, creation()) for _ in range(3)]
                changes = [touched(each) for each in stood]
                spoiled = evolve(stood[1].steps[0], last_error=text)
                after = evolve(changes[1].after, steps=(spoiled, *stood[1].steps[1:]))
                changes[1] = evolve(changes[1], after=after, moved=(spoiled,))
                results = await asyncio.gather(
                    *(store.commit(change) for change in changes), return_exceptions=True
                )
                assert [type(result) for result in results] == [Committed, Bug, Committed]

    asyncio.run(scenario())


_TERMINATE = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_terminated_connections_are_replaced_and_no_write_is_lost_or_doubled(
    stores: PostgresStores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = [await committed(store, creation()) for _ in range(30)]
            for _ in range(3):
                writes = [asyncio.ensure_future(store.commit(touched(each))) for each in stood]
                await asyncio.get_running_loop().run_in_executor(None, stores.execute, _TERMINATE)
                results = await asyncio.gather(*writes)
                assert all(isinstance(result, Committed) for result in results)
                stood = [r.transaction for r in results if isinstance(r, Committed)]
            for each in stood:
                assert await store.get(each.id) == each

    asyncio.run(scenario())


def test_a_read_whose_connection_is_dead_is_repeated_on_another(stores: PostgresStores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            await asyncio.gather(*(store.ping() for _ in range(8)))
            stores.execute(_TERMINATE)
            assert await store.get(stood.id) == stood

    asyncio.run(scenario())


def test_two_processes_updating_the_same_payments_neither_deadlock_nor_share_a_version(
    stores: PostgresStores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            stood = [await committed(one, creation()) for _ in range(60)]
            for _ in range(5):
                first, second = await asyncio.gather(
                    asyncio.gather(*(one.commit(touched(each)) for each in stood)),
                    asyncio.gather(*(two.commit(touched(each)) for each in reversed(stood))),
                )
                for a, b in zip(first, reversed(second), strict=True):
                    assert {type(a), type(b)} == {Committed, LostRace}
                fresh = [await one.get(each.id) for each in stood]
                stood = [each for each in fresh if each is not None]

    asyncio.run(scenario())


def test_a_server_that_is_down_is_unavailable_and_everything_goes_on_when_it_is_back() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kessai-outage-", dir="/tmp"))

    async def scenario() -> None:
        with EmbeddedPostgres(folder / "postgres") as server:
            url = server.ensure_database("outage")
            migrate(url)
            store = PostgresStore(url, owner="one", sealer=Sealer(KEY))
            await store.start()
            stood = await committed(store, creation())
        try:
            down = await asyncio.gather(
                *(store.commit(creation()) for _ in range(3)),
                store.commit(touched(stood)),
                store.get(stood.id),
                store.claim_due(1),
                store.ping(),
                return_exceptions=True,
            )
            assert [type(each) for each in down] == [StoreUnavailable] * 7
            with EmbeddedPostgres(folder / "postgres"):
                assert await store.get(stood.id) == stood
                moved = await committed(store, commit_of(stepped(Draft(stood))))
                assert await store.get(stood.id) == moved
                await store.close()
        finally:
            await store.close()

    try:
        asyncio.run(scenario())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _elsewhere(url: str) -> str:
    other = sa.make_url(url).set(database="not_there")
    return other.render_as_string(hide_password=False)


def test_a_store_does_not_start_on_a_schema_of_another_version(new_database: NewDatabase) -> None:
    async def start(url: str) -> None:
        store = PostgresStore(url, owner="one", sealer=Sealer(KEY))
        try:
            await store.start()
        finally:
            await store.close()

    url = new_database()
    assert current_revision(url) is None
    with pytest.raises(ConfigurationError, match="run kessai migrate"):
        asyncio.run(start(url))
    assert migrate(url) == head_revision() == current_revision(url)
    assert migrate(url) == head_revision(), "migrating again changes nothing"
    asyncio.run(start(url))
    with pytest.raises(StoreUnavailable):
        asyncio.run(start(_elsewhere(url)))
    for ask in (migrate, current_revision):
        with pytest.raises(StoreUnavailable):
            ask(_elsewhere(url))


def test_a_database_that_is_not_reached_is_named_for_the_logs_without_its_password(
    stores: PostgresStores,
) -> None:
    async def start(url: str) -> StoreUnavailable:
        store = PostgresStore(url, owner="one", sealer=Sealer(KEY))
        with pytest.raises(StoreUnavailable) as caught:
            await store.start()
        with pytest.raises(StoreUnavailable) as written:
            await store.commit(creation())
        await store.close()
        assert written.value.detail == caught.value.detail
        return caught.value

    error = asyncio.run(start("postgresql://shop:hunter2@127.0.0.1:1/kessai"))
    assert "Connection refused" in error.detail
    assert "(host 127.0.0.1, database kessai)" in error.detail
    for secret in ("hunter2", "127.0.0.1", "kessai"):
        assert secret not in str(error)
    assert "hunter2" not in error.detail
    error = asyncio.run(start(_elsewhere(stores.url)))
    assert 'database "not_there" does not exist' in error.detail


_SHAPE = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version';
SELECT tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version';
SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger;
SELECT relname, reloptions::text, relkind FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND NOT starts_with(relname, 'alembic');
SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default,
character_maximum_length FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'alembic_version'
"""


def _shape(url: str) -> list[list[str]]:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return [
                sorted(map(repr, connection.exec_driver_sql(query))) for query in _SHAPE.split(";")
            ]
    finally:
        engine.dispose()


def test_steps_that_an_older_version_wrote_get_their_roles_and_final_amounts(
    new_database: NewDatabase,
) -> None:
    url = new_database()
    migrate(url, "0001")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in _OLD_PAYMENT:
            connection.exec_driver_sql(statement)
    migrate(url)
    with engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT phase, role FROM steps ORDER BY position")
        roles = {row.phase: row.role for row in rows}
        rows = connection.exec_driver_sql("SELECT phase, final_minor FROM steps")
        finals = {row.phase: row.final_minor for row in rows}
    engine.dispose()
    expected = {"points_reserve": "takes", "merchant_credit": "gives", "notify": "announces"}
    assert roles == expected
    assert finals == {"points_reserve": 600, "merchant_credit": 600, "notify": None}


_OLD_PAYMENT = (
    """INSERT INTO transactions VALUES (
    '00000000-0000-7000-8000-000000000001', 'shop', 'key',
    '{"flow":"points_only","tenders[0].method":"points_reserve","customer_id":"merchant_credit"}',
    'points_only', 600, 'JPY', 'shop-1', '', '', 'PAID', 1, 1, NULL, NULL, NULL, NULL, NULL,
    now(), now(), now(), now(), NULL, NULL, NULL, 'w')""",
    """INSERT INTO steps (transaction_id, phase, position, status, amount_minor, currency, source,
    secret, attempts, last_error, refusal_code, refusal_reason, reference)
    SELECT '00000000-0000-7000-8000-000000000001', phase, place, 'UNTRIED', amount,
    CASE WHEN amount > 0 THEN 'JPY' END, 'x', false, 0, '', '', '', '' FROM (VALUES
    ('points_reserve', 0, 600), ('merchant_credit', 1, 600), ('notify', 2, NULL)
    ) AS s(phase, place, amount)""",
)


def test_the_migrations_make_exactly_the_schema(new_database: NewDatabase) -> None:
    migrated, made = new_database(), new_database()
    migrate(migrated)
    engine = sa.create_engine(made)
    metadata.create_all(engine)
    engine.dispose()
    assert _shape(migrated) == _shape(made)

    engine = sa.create_engine(migrated)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_every_constraint_has_a_name() -> None:
    for table in metadata.tables.values():
        for constraint in table.constraints:
            assert constraint.name, f"{table.name}: {constraint}"


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("postgresql://u:p%40@h:5/d?x=y", "postgresql+psycopg2://u:p%40@h:5/d?x=y"),
        ("postgres://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql://a,b/d?x=y", "postgresql+psycopg2://a,b/d?x=y"),
    ],
)
def test_urls_get_their_driver(given_url: str, expected: str) -> None:
    assert normalise_url(given_url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "kessai.db", "sqlite:///x", "mysql://u:hunter2@h/d", "postgresql+asyncpg://h/d",
        "postgresql://u:hunter2@a:1,b:2/d",
    ],
)  # fmt: skip
def test_other_urls_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        normalise_url(url)
    assert "hunter2" not in str(caught.value)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


_BYTES, _TIMES = st.binary(), st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.TEXT, _TEXTS),
        (Kind.BYTES, _BYTES),
        (Kind.TIME, _TIMES),
        (Kind.INTEGER, st.integers(-(2**63), 2**63 - 1)),
        (Kind.BOOLEAN, st.booleans()),
    ],
)
def test_any_value_survives_the_way_to_the_server(
    stores: PostgresStores, kind: Kind, values: st.SearchStrategy[Any]
) -> None:
    fields = [Field("x", kind, lambda value: value)]

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.one_of(st.none(), values)))
    def check(sent: list[Any]) -> None:
        with stores.connect() as connection:
            rows = connection.exec_driver_sql(
                f"SELECT x FROM {record_set(fields, 'x')}",
                {"x": document(fields, sent)},
            )
            found = [row[0] for row in rows]
        assert [bytes(each) if isinstance(each, memoryview) else each for each in found] == sent

    check()


def test_an_order_that_is_freed_just_after_it_was_found_taken_is_taken_after_all(
    stores: PostgresStores,
) -> None:
    freed: list[bool] = []

    def free(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ON CONFLICT" in statement and not freed:
            freed.append(True)
            stores.execute(
                "UPDATE transactions SET state = 'CANCELLING', failure_code = 'X',"
                " failure_reason = '', failure_phase = ''"
            )

    async def scenario() -> None:
        async with stores.open() as store:
            await committed(store, creation(opened(order_id="o")))
            sa.event.listen(stores.engine_of(store), "after_cursor_execute", free)
            await committed(store, creation(opened(order_id="o")))
            assert freed

    asyncio.run(scenario())


def test_more_writes_than_a_group_holds_are_all_made(stores: PostgresStores) -> None:
    async def scenario() -> None:
        async with stores.open(batch_limit=256) as store:
            results = await asyncio.gather(*(store.commit(creation(opened())) for _ in range(600)))
            assert all(isinstance(result, Committed) for result in results)
            moved = await asyncio.gather(
                *(store.commit(touched(r.transaction)) for r in results if isinstance(r, Committed))
            )
            assert all(isinstance(result, Committed) for result in moved)

    asyncio.run(scenario())


def test_an_update_that_settles_nothing_touches_no_index() -> None:
    """Else PostgreSQL writes into every index of the table, with each of a payment's commits."""
    moving = {field.name for field in MOVING} - {"id"}
    once = {"due_at", "failure_code"}  # change when a payment is settled, released or parked
    for index in metadata.tables["transactions"].indexes:
        predicate = str(index.dialect_options["postgresql"]["where"])
        named = set(re.findall(r"[a-z_]+", f"{predicate} {[str(e) for e in index.expressions]}"))
        assert not named & moving - once, index.name
