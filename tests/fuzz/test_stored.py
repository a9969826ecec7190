"""Whatever stands in a column of a row, written by another version: the other rows are served.

Every column of a transaction and its steps is tried, with values that the column's type takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.schema import metadata
from adapters.sealing import SecretUnreadable
from coordinator.domain.errors import Bug
from coordinator.ports import PaymentQuery
from tests.fuzz.sizes import IS_RELEASE, fuzz
from tests.support.stores import PostgresStores, SqliteStores, Stores
from tests.support.transactions import commit_of, committed, creation, until

FUZZ = fuzz(100)
TEXTS = (
    "",
    "ELSEWHERE",
    "{",
    "[1]",
    "null",
    '{"a": 1}',
    '{"a": {"b": []}}',
    "[" * 2000,
    "\u202e\U0001f4a3",
    "x" * 10_000,
    "JP",
    "NaN",
)
NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31))
LARGE = (*NUMBERS, 2**63 - 1, -(2**63), 10**12 + 1)
TIMES = ("1970-01-01 00:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999")
LEFT_ALONE = {"id", "transaction_id", "payment_id", "version"}
"""What rows are found by, and what the database itself counts from one, under a CHECK."""


def literals(column: sa.Column[object]) -> list[str]:
    """SQL for values that the column's type takes."""
    kind = column.type
    found = ["NULL"] if column.nullable else []
    if isinstance(kind, sa.LargeBinary):
        return [*found, "''"]
    if isinstance(kind, sa.Boolean):
        return [*found, "true", "false"]
    if isinstance(kind, sa.BigInteger):
        return [*found, *map(str, LARGE)]
    if isinstance(kind, sa.Integer):
        return [*found, *map(str, NUMBERS)]
    if isinstance(kind, sa.CHAR):
        return [*found, "'XXX'", "'jpy'", "''"]
    if isinstance(kind, sa.Text | sa.String):
        return [*found, *(f"'{text}'" for text in TEXTS)]
    return [*found, *(f"'{time}'" for time in TIMES)]


SPOILS = [
    (table.name, column.name, value)
    for table in metadata.sorted_tables
    if table.name in {"transactions", "steps"}
    for column in table.columns
    if column.name not in LEFT_ALONE
    for value in literals(column)
]
"""Table, column and what is put there."""


@pytest.fixture(params=["postgres", "sqlite"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    made: Stores = SqliteStores(None)
    if request.param == "postgres":
        made.close()
        new_database: Callable[[], str] = request.getfixturevalue("new_database")
        made = PostgresStores(new_database())
    yield made
    made.close()


@pytest.mark.timeout(0 if IS_RELEASE else 300)
def test_whatever_stands_in_a_row_the_others_are_claimed_listed_and_read(stores: Stores) -> None:
    @FUZZ
    @given(spoils=st.lists(st.sampled_from(SPOILS), min_size=1, max_size=3))
    def any_row(spoils: list[tuple[str, str, str]]) -> None:
        asyncio.run(beside(stores, spoils))

    any_row()


async def beside(stores: Stores, spoils: list[tuple[str, str, str]]) -> None:
    """A row is spoilt; those that were made before and after it are served."""
    async with stores.open() as store:
        before, bad, after = [await committed(store, creation()) for _ in range(3)]
        for table, column, value in spoils:
            key = "id" if table == "transactions" else "transaction_id"
            with suppress(sa.exc.IntegrityError):  # it is that of another row
                stores.execute_unchecked(
                    f"UPDATE {table} SET {column} = {value} WHERE {key} = '{bad.id}'"
                )
        good = {before.id, after.id}
        claimed = {each.id for _ in range(3) for each in await store.claim_due(1000)}
        assert good <= claimed
        listed = await store.list_payments(PaymentQuery("shop", limit=5))
        assert good <= {each.id for each in listed}
        for transaction in (before, after):
            found = await store.get(transaction.id)
            assert found is not None
            assert found.id == transaction.id
            assert (await committed(store, commit_of(until(found, "PAID")))).settled
        with suppress(Bug, SecretUnreadable):
            await store.get(bad.id)
        with suppress(Bug, SecretUnreadable):
            await store.find_by_key("shop", bad.idempotency_key)
