"""The alarm of `kessai chaos` rings: what is wrong in a real database is found and named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from fault_injection.chaos.verdict import Databases
from tests.support.stores import PostgresStores
from tests.support.transactions import commit_of, committed, creation, until

A_LINE_FROM_ELSEWHERE = (
    "INSERT INTO journal SELECT transaction_id, sequence + 1, at, kind, 'CREATED', to_state, event,"
    " phase, operation, attempt, outcome, code, detail, actor, evidence FROM journal"
    " ORDER BY sequence DESC LIMIT 1"
)


@pytest.fixture
def stores(new_database: Callable[[], str]) -> Iterator[PostgresStores]:
    """A database with one payment that is PAID."""
    made = PostgresStores(new_database())

    async def pay() -> None:
        async with made.open() as store:
            opened = await committed(store, creation())
            await committed(store, commit_of(until(opened, "PAID")))

    asyncio.run(pay())
    yield made
    made.close()


def test_a_sound_payment_raises_no_alarm(stores: PostgresStores) -> None:
    database = Databases(stores.url)
    assert database.breaks() == []
    assert database.live() == 0
    assert [state.value for state, _ in database.ends().values()] == ["PAID"]
    assert database.sums() == (1000, 0)


@pytest.mark.parametrize(
    ("meddling", "invariant"),
    [
        ("UPDATE transactions SET state = 'REFUNDED'", "S10"),
        ("UPDATE transactions SET sequence = sequence + 1", "S10"),
        (A_LINE_FROM_ELSEWHERE, "S9"),
    ],
)
def test_a_row_and_a_journal_that_do_not_agree_are_found(
    stores: PostgresStores, meddling: str, invariant: str
) -> None:
    stores.execute_unchecked(meddling)
    found = Databases(stores.url).breaks()
    assert [each for each in found if each.startswith(f"{invariant}: ")] != []


def test_a_payment_that_is_still_live_is_seen(stores: PostgresStores) -> None:
    stores.execute_unchecked("UPDATE transactions SET due_at = now()")
    assert Databases(stores.url).live() == 1
