"""The Store port's lists and its schema's own refusals."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from coordinator.domain.machine import State
from coordinator.domain.transaction import Transaction
from coordinator.ports import PaymentQuery
from tests.support.stores import Stores
from tests.support.transactions import (
    START,
    commit_of,
    committed,
    creation,
    opened,
    released,
    until,
)


def test_filters_select_what_they_say(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            made: list[Transaction] = []
            for number in range(6):
                draft = opened(
                    now=START + timedelta(seconds=number),
                    order_id=f"order-{number}" if number % 2 else "",
                    customer_id=f"customer-{number % 3}",
                    merchant_id=f"merchant-{number % 2}",
                )
                made.append(await committed(store, creation(draft)))
            made[0] = await committed(store, commit_of(until(made[0], "PAID")))
            made[1] = await committed(store, commit_of(released(made[1])))
            await committed(store, creation(opened(caller="other")))

            async def listed(**filters: Any) -> list[int]:
                page = await store.list_payments(PaymentQuery("shop", **filters))
                return [made.index(each) for each in page]

            assert await listed() == [5, 4, 3, 2, 1, 0]
            assert await listed(states=(State.PAID, State.CANCELLING)) == [1, 0]
            assert await listed(order_id="order-3") == [3]
            assert await listed(customer_id="customer-1") == [4, 1]
            assert await listed(merchant_id="merchant-0") == [4, 2, 0]
            assert await listed(customer_id="customer-1", merchant_id="merchant-0") == [4]
            from_, to = START + timedelta(seconds=2), START + timedelta(seconds=4)
            assert await listed(created_from=from_, created_to=to) == [3, 2]
            assert await listed(limit=2) == [5, 4]
            assert await store.list_payments(PaymentQuery("nobody")) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_pages_have_no_duplicates_and_no_gaps_while_new_payments_arrive(
    stores: Stores, size: int
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            made = [
                await committed(store, creation(opened(now=START + timedelta(seconds=number // 3))))
                for number in range(20)
            ]
            expected = sorted(made, key=lambda each: (each.created_at, each.id), reverse=True)
            seen: list[Transaction] = []
            before = None
            while page := await store.list_payments(
                PaymentQuery("shop", before=before, limit=size)
            ):
                seen += page
                before = (page[-1].created_at, page[-1].id)
                arrival = START + timedelta(seconds=100 + len(seen))
                await committed(store, creation(opened(now=arrival)))
            assert seen == expected

    asyncio.run(scenario())


def test_live_payments_are_counted_by_caller_and_up_to_a_bound(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            assert await store.count_live("shop", at_most=10) == 0
            made = [await committed(store, creation()) for _ in range(4)]
            await committed(store, creation(opened(caller="other")))
            assert await store.count_live("shop", at_most=10) == 4
            assert await store.count_live("shop", at_most=4) == 4
            assert await store.count_live("shop", at_most=3) == 3
            assert await store.count_live("other", at_most=10) == 1
            assert await store.count_live("nobody", at_most=10) == 0
            await committed(store, commit_of(until(made[0], "PAID")))
            await committed(store, commit_of(released(made[1])))
            assert await store.count_live("shop", at_most=10) == 3, "a release is still to be done"

    asyncio.run(scenario())


_LINE = (
    "INSERT INTO journal (transaction_id, sequence, at, kind, from_state, to_state, event, phase,"
    " operation, attempt, outcome, code, detail, actor, evidence)"
    " SELECT id, {sequence}, created_at, '{kind}', {source}, '{target}', '{event}', '{phase}',"
    " '', 0, '', '', '', '', '' FROM transactions"
)


@pytest.mark.parametrize(
    "line",
    [
        ("transition", "'CREATED'", "pay", "PAID", "", 2),
        ("transition", "'CREATED'", "hold", "PAID", "", 2),
        ("transition", "'FAILED'", "hold", "RESERVED", "", 2),
        ("transition", "NULL", "pay", "PAID", "", 1),
        ("transition", "NULL", "create", "RESERVED", "", 1),
        ("transition", "NULL", "create", "CREATED", "", 2),
        ("attempt", "'CREATED'", "", "PAID", "card_charge", 2),
        ("attempt", "NULL", "", "CREATED", "card_charge", 2),
        ("attempt", "'CREATED'", "", "CREATED", "", 2),
        ("attempt", "'ELSEWHERE'", "", "ELSEWHERE", "card_charge", 2),
        ("rumour", "'CREATED'", "", "CREATED", "card_charge", 2),
    ],
)
def test_the_schema_refuses_journal_lines_that_the_machine_does_not_know(
    stores: Stores, line: tuple[str, str, str, str, str, int]
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            await committed(store, creation())

    asyncio.run(scenario())
    names = ("kind", "source", "event", "target", "phase", "sequence")
    with pytest.raises(sa.exc.IntegrityError, match="journal_spells_the_machine"):
        stores.execute(_LINE.format(**dict(zip(names, line, strict=True))))


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE transactions SET state = 'PAID'", "transactions_due_unless_settled"),
        ("UPDATE transactions SET due_at = NULL", "transactions_due_unless_settled"),
        ("UPDATE transactions SET state = 'CANCELLING'", "transactions_failure_means_release"),
        ("UPDATE transactions SET state = 'ELSEWHERE'", "transactions_state_known"),
        ("UPDATE transactions SET amount_minor = 0", "transactions_amount_positive"),
        ("UPDATE transactions SET version = 0", "transactions_version_counts"),
        ("UPDATE transactions SET claimed_by = 'me'", "transactions_claim_is_whole"),
        ("UPDATE transactions SET failure_reason = 'X'", "transactions_failure_is_whole"),
        ("UPDATE steps SET source = 'clear' WHERE secret", "steps_secret_not_in_clear"),
        ("UPDATE steps SET status = 'DONE'", "steps_status_known"),
        ("UPDATE steps SET amount_minor = -1 WHERE secret", "steps_amount_positive"),
        ("UPDATE steps SET currency = NULL WHERE secret", "steps_amount_is_whole"),
    ],
)
def test_the_schema_keeps_its_invariants_by_name(
    stores: Stores, statement: str, constraint: str
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            await committed(store, creation())

    asyncio.run(scenario())
    with pytest.raises(sa.exc.IntegrityError, match=constraint):
        stores.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE journal SET code = 'x'", "DELETE FROM journal"])
def test_the_journal_refuses_update_and_delete(stores: Stores, statement: str) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            with pytest.raises(sa.exc.DBAPIError, match="append-only"):
                stores.execute(statement)
            assert len(await store.journal(stood.id, 0, 10)) == 1

    asyncio.run(scenario())
