"""The Store port as a queue: claims of due transactions and of unpublished events."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

from coordinator.domain.transaction import Draft, OutboxEvent
from coordinator.ports import Committed, LostRace
from tests.support.stores import Stores
from tests.support.transactions import (
    START,
    commit_of,
    committed,
    creation,
    opened,
    stepped,
    touched,
    until,
)

FAR = datetime(2100, 1, 1, tzinfo=UTC)


def test_only_due_live_transactions_that_nobody_holds_are_claimed(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            free = [
                await committed(one, creation(opened(now=START + timedelta(seconds=second))))
                for second in (3, 1, 2)
            ]
            await committed(one, creation(keep_claim=True))
            later = opened()
            await committed(one, later.change(now=START, due_at=FAR, keep_claim=False))
            await committed(one, commit_of(until(free[2], "PAID")))

            claimed = await two.claim_due(10)
            assert [each.id for each in claimed] == [free[1].id, free[0].id], "longest due first"
            for each in claimed:
                assert each.claimed_by == "two"
                assert each.version == 2
                assert each.steps == next(f for f in free if f.id == each.id).steps
                assert await one.get(each.id) == each
            assert await one.claim_due(10) == []
            assert await two.claim_due(10) == [], "not even by their holder"

            stores.expire_claims()
            assert len(await one.claim_due(2)) == 2
            assert len(await one.claim_due(2)) == 1

    asyncio.run(scenario())


def test_what_a_process_cannot_drive_it_leaves_to_those_who_can(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store, stores.open("two") as other:
            theirs = await committed(store, creation(opened(flow="points_and_card")))
            mine = await committed(store, creation(opened(flow="points_only")))
            assert [each.id for each in await store.claim_due(10, ["points_only"])] == [mine.id]
            assert await store.claim_due(10, []) == []
            claimed = await other.claim_due(10, ["points_only", "points_and_card"])
            assert [each.id for each in claimed] == [theirs.id]

    asyncio.run(scenario())


def test_a_paused_holder_that_wakes_up_changes_nothing(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as paused, stores.open("two") as other:
            stood = await committed(paused, creation(keep_claim=True))
            assert await other.claim_due(10) == []
            stores.expire_claims()
            (claimed,) = await other.claim_due(10)
            assert await paused.commit(commit_of(until(stood, "PAID"))) == LostRace()
            assert await other.get(stood.id) == claimed
            assert isinstance(await other.commit(commit_of(stepped(Draft(claimed)))), Committed)

    asyncio.run(scenario())


def test_a_commit_renews_the_claim_or_gives_it_back(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation(keep_claim=True))
            stores.expire_claims()
            stood = await committed(store, touched(stood, keep_claim=True))
            assert await store.claim_due(10) == []
            stood = await committed(store, touched(stood))
            assert [each.id for each in await store.claim_due(10)] == [stood.id]

    asyncio.run(scenario())


def test_two_claimers_never_get_the_same_transaction(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            made = await asyncio.gather(*(one.commit(creation()) for _ in range(60)))
            pages = await asyncio.gather(
                *(store.claim_due(5) for _ in range(8) for store in (one, two))
            )
            ids = [each.id for page in pages for each in page]
            while page := await one.claim_due(5):  # SKIP LOCKED may leave some for later
                ids += [each.id for each in page]
            assert len(ids) == len(set(ids)) == len(made)

    asyncio.run(scenario())


def test_claims_race_with_commits_and_each_version_has_one_winner(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            stood = [await committed(one, creation()) for _ in range(40)]
            results, first, second = await asyncio.gather(
                asyncio.gather(*(one.commit(touched(each)) for each in stood)),
                two.claim_due(20),
                two.claim_due(20),
            )
            claimed = {each.id: each for each in (*first, *second)}
            for before, result in zip(stood, results, strict=True):
                fresh = await one.get(before.id)
                assert fresh is not None
                wins = (before.id in claimed) + isinstance(result, Committed)
                assert fresh.version == 1 + wins
                if before.id in claimed:
                    assert claimed[before.id] == fresh, "a claim that was won is the last word"

    asyncio.run(scenario())


def test_events_are_claimed_in_order_one_for_each_transaction_and_for_a_lease(
    stores: Stores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            events: list[OutboxEvent] = []
            for second in (3, 1, 2):
                at = START + timedelta(seconds=second)
                stood = await committed(one, creation())
                change = commit_of(until(stood, "PAID", now=at), now=at)
                await committed(one, change)
                events += change.events
            events.sort(key=lambda event: event.at)
            columns = (
                "sequence, at, caller, flow, amount_minor, currency, merchant_id, order_id,"
                " late_phase, captured_minor, refunded_minor"
            )
            stores.execute(
                f"INSERT INTO outbox (id, transaction_id, state, customer_id, {columns})"
                " SELECT '01900000-0000-7000-8000-ffffffffffff', transaction_id, 'REFUNDED',"
                " customer_id, sequence + 1, at, caller, flow, amount_minor, currency,"
                " merchant_id, order_id, late_phase, captured_minor, refunded_minor"
                f" FROM outbox WHERE id = '{events[0].id}'"
            )

            assert await one.claim_events(2, 30.0) == events[:2]
            assert await two.claim_events(5, 30.0) == events[2:]
            assert await two.claim_events(5, 30.0) == []
            await one.mark_published(events[:1])
            (second_event,) = await one.claim_events(5, 30.0)
            assert second_event.state == "REFUNDED"

            stores.expire_claims()
            await one.mark_published([])
            await one.mark_published([second_event])
            assert await two.claim_events(5, 30.0) == events[1:]
            await two.mark_published(events)
            stores.expire_claims()
            assert await two.claim_events(5, 30.0) == []

    asyncio.run(scenario())


def test_two_claimers_never_get_the_same_event(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            for _ in range(30):
                stood = await committed(one, creation())
                await committed(one, commit_of(until(stood, "PAID")))
            pages = await asyncio.gather(
                *(store.claim_events(4, 30.0) for _ in range(6) for store in (one, two))
            )
            ids = [event.id for page in pages for event in page]
            while page := await one.claim_events(4, 30.0):
                ids += [event.id for event in page]
            assert len(ids) == len(set(ids)) == 30

    asyncio.run(scenario())


def test_reading_keeps_neither_recovery_nor_the_relay_waiting(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            await committed(store, commit_of(until(await committed(store, creation()), "PAID")))
            due = await committed(store, creation())
            done = threading.Event()
            try:
                for _ in range(8):
                    store._readers.submit(done.wait)
                read = asyncio.ensure_future(store.get(due.id))
                async with asyncio.timeout(5):
                    assert [each.id for each in await store.claim_due(5)] == [due.id]
                    events = await store.claim_events(5, 30.0)
                    assert len(events) == 1
                    await store.mark_published(events)
                assert not read.done()
            finally:
                done.set()
            assert await read is not None

    asyncio.run(scenario())
