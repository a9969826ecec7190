"""The Store port beside rows that this version cannot read: they never stop the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import structlog

from coordinator.domain.errors import Bug
from coordinator.domain.money import EXPONENTS, MAX_MINOR
from coordinator.ports import PaymentQuery
from tests.support.stores import Stores
from tests.support.transactions import (
    START,
    commit_of,
    committed,
    creation,
    opened,
    touched,
    until,
)

SPOILS = [
    "UPDATE transactions SET state = 'ELSEWHERE' WHERE id = '{id}'",
    "UPDATE transactions SET request = '{{' WHERE id = '{id}'",
    "UPDATE transactions SET request = '[1]' WHERE id = '{id}'",
    "UPDATE steps SET status = 'DOUBTED' WHERE transaction_id = '{id}'",
]


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_row_that_cannot_be_read_is_claimed_logged_and_left_out(
    stores: Stores, spoil: str
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            good = await committed(store, creation())
            bad = await committed(store, creation())
            late = await committed(store, creation())
            stores.execute_unchecked(spoil.format(id=bad.id))
            with structlog.testing.capture_logs() as lines:
                claimed = await store.claim_due(2)
                claimed = [*claimed, *await store.claim_due(2)]
                assert {each.id for each in claimed} == {good.id, late.id}
                assert await store.claim_due(2) == [], "nor can it take turns with the others"
                listed = await store.list_payments(PaymentQuery("shop"))
                assert {each.id for each in listed} == {good.id, late.id}
            for line in lines:
                assert line["event"] == "row_unreadable"
                assert line["transaction_id"] == bad.id
                assert set(line) == {"event", "transaction_id", "error", "log_level"}
            assert len(lines) == 2, "once when claimed, once when listed"
            with pytest.raises(Bug, match=bad.id):
                await store.get(bad.id)
            with pytest.raises(Bug, match=bad.id):
                await store.find_by_key("shop", bad.idempotency_key)

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_a_page_is_only_short_at_the_end_whatever_cannot_be_read(stores: Stores, size: int) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            made = [
                await committed(store, creation(opened(now=START + timedelta(seconds=number))))
                for number in range(9)
            ]
            made.reverse()
            for number in (0, 2, 3, 4, 5, 8):
                stores.execute_unchecked(SPOILS[1].format(id=made[number].id))
            seen: list[str] = []
            before = None
            while page := await store.list_payments(
                PaymentQuery("shop", before=before, limit=size)
            ):
                seen += [each.id for each in page]
                before = (page[-1].created_at, page[-1].id)
                if len(page) < size:
                    break
            assert seen == [made[1].id, made[6].id, made[7].id]

    asyncio.run(scenario())


def test_an_event_that_cannot_be_read_is_claimed_logged_and_left_out(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            paid = [
                await committed(store, commit_of(until(await committed(store, creation()), "PAID")))
                for _ in range(3)
            ]
            bad = paid[1].id
            stores.execute_unchecked(
                f"UPDATE outbox SET state = 'ELSEWHERE' WHERE transaction_id = '{bad}'"
            )
            with structlog.testing.capture_logs() as lines:
                events = await store.claim_events(10, 30.0)
                assert await store.claim_events(10, 30.0) == []
            assert {event.transaction_id for event in events} == {paid[0].id, paid[2].id}
            assert [(line["event"], line["transaction_id"]) for line in lines] == [
                ("row_unreadable", bad)
            ]

    asyncio.run(scenario())


def test_a_currency_that_was_withdrawn_and_an_amount_above_the_limit_are_read_and_settled(
    stores: Stores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            assert "HRK" not in EXPONENTS
            above = MAX_MINOR + 1
            for table in ("transactions", "steps"):
                stores.execute_unchecked(
                    f"UPDATE {table} SET currency = 'HRK', amount_minor = {above}"
                )
            (claimed,) = await store.claim_due(1)
            assert (claimed.amount.minor, claimed.amount.currency) == (above, "HRK")
            assert {step.amount for step in claimed.steps if step.amount} == {claimed.amount}
            assert await store.list_payments(PaymentQuery("shop")) == [claimed]
            assert await store.get(stood.id) == claimed
            stores.execute("UPDATE transactions SET amount_minor = 1000")
            restored = await store.get(stood.id)
            assert restored is not None
            await committed(store, commit_of(until(restored, "PAID")))
            (event,) = await store.claim_events(1, 30.0)
            assert event.amount.currency == "HRK"

    asyncio.run(scenario())


def test_a_payment_beside_one_that_cannot_be_read_is_still_written(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            good = await committed(store, creation())
            bad = await committed(store, creation())
            stores.execute_unchecked(SPOILS[1].format(id=bad.id))
            await committed(store, touched(good))

    asyncio.run(scenario())
