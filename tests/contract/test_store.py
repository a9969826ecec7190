"""The Store port: what a commit promises, over every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from adapters.sealing import Sealer, SecretUnreadable
from coordinator.domain.errors import Bug, Overloaded, StoreUnavailable
from coordinator.domain.machine import State
from coordinator.domain.outcome import Applied, Refused, Unknown
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Attention, Change, Draft
from coordinator.ports import Committed, KeyTaken, LostRace, OrderTaken
from tests.support.stores import KEY, Stores
from tests.support.transactions import (
    CARD_TOKEN,
    answered,
    commit_of,
    committed,
    creation,
    new_id,
    opened,
    released,
    stepped,
    touched,
    until,
)


def test_what_was_committed_is_read_back_field_by_field(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            draft = opened(order_id='order "1" \\ {é},NULL', customer_id="", key="k'1")
            stood = await committed(store, creation(draft, keep_claim=True))
            assert stood.claimed_by == "one"
            assert await store.get(stood.id) == stood
            assert await store.find_by_key("shop", "k'1") == stood
            assert await store.find_by_key("other", "k'1") is None
            assert await store.get(new_id()) is None

            draft = answered(Draft(stood), "points_reserve", Unknown("RESET", 'lost "it" \\'))
            draft = answered(draft, "merchant_credit", Applied("ref,1"))
            flagged = evolve(
                draft.transaction,
                attention=Attention("LOOK", "at {this}"),
                try_deadline=stood.try_deadline + timedelta(microseconds=1),
                reserved_until=stood.reserved_until + timedelta(days=9),
            )
            stood = await committed(store, commit_of(evolve(draft, transaction=flagged)))
            assert stood.claimed_by == ""
            assert await store.get(stood.id) == stood

    asyncio.run(scenario())


def test_every_state_of_a_payment_is_read_back_and_its_journal_is_contiguous(
    stores: Stores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            entries = list(creation(opened()).entries)
            entries = [evolve(entries[0], transaction_id=stood.id)]
            while not stood.settled:
                change = commit_of(stepped(Draft(stood)))
                stood = await committed(store, change)
                entries += change.entries
                assert await store.get(stood.id) == stood
            assert await store.journal(stood.id, 0, 100) == entries
            assert [entry.sequence for entry in entries] == list(range(1, stood.sequence + 1))
            assert await store.journal(stood.id, 3, 2) == entries[3:5]

    asyncio.run(scenario())


def test_a_release_and_its_failure_are_read_back(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            draft = answered(Draft(stood), "points_reserve", Refused("", "keine Punkte – ¥0"))
            refused = await committed(store, commit_of(draft))
            failed = await committed(store, commit_of(until(refused, "FAILED")))
            assert failed.failure is not None
            assert failed.failure.reason == "keine Punkte – ¥0"
            assert await store.get(stood.id) == failed

    asyncio.run(scenario())


def test_a_secret_is_never_stored_in_clear_and_is_forgotten_when_it_is_not_needed(
    stores: Stores,
) -> None:
    def everything() -> str:
        tables = ("transactions", "steps", "journal", "outbox")
        return "".join(repr(stores.rows(f"SELECT * FROM {table}")) for table in tables)

    def sealed() -> list[bytes]:
        rows = stores.rows("SELECT sealed FROM steps WHERE sealed IS NOT NULL")
        return [bytes(row[0]) for row in rows]

    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            assert CARD_TOKEN not in everything()
            (blob,) = sealed()
            assert CARD_TOKEN.encode() not in blob
            assert (await store.get(stood.id) or stood).step("card_charge").source == CARD_TOKEN
            stood = await committed(store, commit_of(stepped(Draft(stood))))
            assert sealed() == [blob], "a secret that is still needed is kept as it is"
            assert (await store.get(stood.id) or stood).step("card_charge").source == CARD_TOKEN
            stood = await committed(store, commit_of(stepped(Draft(stood))))
            assert stood.step("card_charge").source == ""
            assert sealed() == []
            assert await store.get(stood.id) == stood

    asyncio.run(scenario())


def test_a_secret_opens_after_its_key_was_rotated_and_not_without_its_key(stores: Stores) -> None:
    new_key = bytes(reversed(range(32)))

    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
        async with stores.open("two", sealer=Sealer([new_key, KEY])) as store:
            assert await store.get(stood.id) == stood
        async with stores.open("three", sealer=Sealer(new_key)) as store:
            with pytest.raises(SecretUnreadable):
                await store.get(stood.id)
            assert await store.claim_due(10) == [], "it cannot stop the recovery of the others"

    asyncio.run(scenario())


def test_a_key_is_taken_for_ever_and_only_for_its_caller(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            first = await committed(store, creation(opened(key="k", order_id="o")))
            again = creation(opened(key="k", order_id="o"))
            assert await store.commit(again) == KeyTaken(first.id)
            assert await store.get(again.after.id) is None
            assert await store.journal(again.after.id, 0, 10) == []
            await committed(store, creation(opened(key="k", caller="other")))
            await committed(store, commit_of(released(first)))
            assert await store.commit(creation(opened(key="k"))) == KeyTaken(first.id)

    asyncio.run(scenario())


def test_two_creations_with_one_key_in_one_group_have_one_winner(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            changes = [creation(opened(key="k")) for _ in range(5)]
            results = await asyncio.gather(*(store.commit(change) for change in changes))
            (winner,) = (result for result in results if isinstance(result, Committed))
            losers = [result for result in results if not isinstance(result, Committed)]
            assert losers == [KeyTaken(winner.transaction.id)] * 4
            assert stores.rows("SELECT count(*) FROM steps") == [(4,)]

    asyncio.run(scenario())


def test_an_order_has_one_live_or_paid_payment_and_is_free_once_that_is_released(
    stores: Stores,
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            first = await committed(store, creation(opened(order_id="o")))
            assert await store.commit(creation(opened(order_id="o"))) == OrderTaken(first.id)
            await committed(store, creation(opened(order_id="o", caller="other")))
            await committed(store, creation(opened(order_id="other")))
            await committed(store, creation(opened(order_id="")))
            await committed(store, creation(opened(order_id="")))
            await committed(store, commit_of(released(first)))
            second = await committed(store, creation(opened(order_id="o")))
            paid = await committed(store, commit_of(until(second, "PAID")))
            assert await store.commit(creation(opened(order_id="o"))) == OrderTaken(paid.id)

    asyncio.run(scenario())


def test_an_order_freed_and_taken_in_one_group_changes_hands(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            first = await committed(store, creation(opened(order_id="o")))
            freed, taken = await asyncio.gather(
                store.commit(commit_of(released(first))),
                store.commit(creation(opened(order_id="o"))),
            )
            assert isinstance(freed, Committed)
            assert isinstance(taken, Committed)

    asyncio.run(scenario())


def test_of_two_writers_on_one_version_exactly_one_wins(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            stood = [await committed(one, creation()) for _ in range(20)]
            results = await asyncio.gather(
                *(store.commit(touched(each)) for each in stood for store in (one, two, one))
            )
            for index, each in enumerate(stood):
                kinds = [type(result) for result in results[3 * index : 3 * index + 3]]
                assert sorted(kinds, key=str) == [Committed, LostRace, LostRace]
                fresh = await one.get(each.id)
                assert fresh is not None
                assert fresh.version == 2

    asyncio.run(scenario())


def test_a_loser_writes_nothing_at_all(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            moved = await committed(store, touched(stood))
            assert await store.commit(commit_of(until(stood, "PAID"))) == LostRace()
            assert await store.commit(creation(opened(transaction_id=stood.id))) == LostRace()
            assert await store.get(stood.id) == moved
            assert len(await store.journal(stood.id, 0, 10)) == 1
            assert stores.rows("SELECT count(*) FROM outbox") == [(0,)]

    asyncio.run(scenario())


def test_one_payments_conflict_never_fails_its_neighbours(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = [await committed(store, creation()) for _ in range(4)]
            await committed(store, touched(stood[1]))
            taken = creation(opened(key=stood[0].idempotency_key))
            results = await asyncio.gather(
                *(store.commit(commit_of(stepped(Draft(each)))) for each in stood),
                store.commit(taken),
                store.commit(creation()),
            )
            assert isinstance(results[1], LostRace)
            assert results[4] == KeyTaken(stood[0].id)
            others = [result for index, result in enumerate(results) if index not in {1, 4}]
            assert all(isinstance(result, Committed) for result in others)

    asyncio.run(scenario())


def _without_failure(change: Change) -> Change:
    return evolve(change, after=evolve(change.after, failure=None))


def _with_huge_number(change: Change) -> Change:
    steps = (evolve(change.after.steps[0], attempts=2**70), *change.after.steps[1:])
    return evolve(change, after=evolve(change.after, steps=steps), moved=steps)


def _with_naive_time(change: Change) -> Change:
    naive = change.after.updated_at.replace(tzinfo=None)
    return evolve(change, after=evolve(change.after, updated_at=naive))


@pytest.mark.parametrize(
    "spoil", [_without_failure, _with_huge_number, _with_naive_time], ids=lambda f: f.__name__
)
def test_a_data_error_fails_its_own_write_and_never_its_neighbours(
    stores: Stores, spoil: Callable[[Change], Change]
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = [await committed(store, creation()) for _ in range(5)]
            changes = [commit_of(released(each)) for each in stood]
            changes[2] = spoil(changes[2])
            results = await asyncio.gather(
                *(store.commit(change) for change in changes), return_exceptions=True
            )
            assert isinstance(results[2], Bug)
            assert CARD_TOKEN not in str(results[2])
            assert all(isinstance(r, Committed) for i, r in enumerate(results) if i != 2)
            assert await store.get(stood[2].id) == stood[2]
            await committed(store, commit_of(released(stood[2])))

    asyncio.run(scenario())


def test_a_violated_constraint_is_named_and_no_value_is_quoted(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            with pytest.raises(Bug, match="transactions_failure_means_release") as caught:
                await store.commit(_without_failure(commit_of(released(stood))))
            assert stood.id not in str(caught.value)

    asyncio.run(scenario())


def test_malformed_changes_never_reach_the_database(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            change = creation()
            for bad in (
                evolve(change, expected_version=1),
                evolve(change, entries=()),
                evolve(change, entries=(evolve(change.entries[0], sequence=2),)),
                evolve(change, after=evolve(change.after, state=State.PAID)),
            ):
                with pytest.raises(Bug):
                    await store.commit(bad)
            assert stores.rows("SELECT count(*) FROM transactions") == [(0,)]

    asyncio.run(scenario())


def test_two_writes_of_one_transaction_keep_their_order(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            first = creation(opened())
            second = touched(first.after)
            third = touched(second.after)
            results = await asyncio.gather(*(store.commit(c) for c in (first, second, third)))
            assert [type(result) for result in results] == [Committed] * 3

    asyncio.run(scenario())


def test_intake_is_refused_before_running_payments_when_too_many_writes_wait(
    stores: Stores,
) -> None:
    async def scenario() -> None:
        async with stores.open(batch_limit=1, queue_limit=4) as store:
            stood = [await committed(store, creation()) for _ in range(6)]
            new = [asyncio.ensure_future(store.commit(creation())) for _ in range(3)]
            old = [asyncio.ensure_future(store.commit(touched(each))) for each in stood]
            await asyncio.wait([*new, *old], timeout=0)
            assert 0 < store.queued <= 4
            results = await asyncio.gather(*new, *old, return_exceptions=True)
            assert store.queued == 0
            assert [type(result) for result in results[:3]] == [Committed, Committed, Overloaded]
            kinds = [type(result) for result in results[3:]]
            assert kinds == [Committed] * 2 + [StoreUnavailable] * 4

    asyncio.run(scenario())


def test_closing_settles_what_was_taken_and_takes_nothing_more(stores: Stores) -> None:
    async def scenario() -> None:
        store = stores.make()
        await store.start()
        writes = [asyncio.ensure_future(store.commit(creation())) for _ in range(20)]
        await asyncio.wait(writes, timeout=0)
        await store.close()
        await store.close()
        results = await asyncio.gather(*writes)
        assert all(isinstance(result, Committed) for result in results)
        with pytest.raises(StoreUnavailable):
            await store.commit(creation())
        with pytest.raises(StoreUnavailable):
            await store.ping()

    asyncio.run(scenario())


def test_a_cancelled_caller_does_not_disturb_the_group(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            changes = [creation() for _ in range(3)]
            writes = [asyncio.ensure_future(store.commit(change)) for change in changes]
            await asyncio.wait(writes, timeout=0)
            writes[1].cancel()
            await asyncio.wait(writes)
            assert isinstance(writes[0].result(), Committed)
            assert isinstance(writes[2].result(), Committed)

    asyncio.run(scenario())


def test_the_settling_commit_writes_its_outbox_row(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            change = commit_of(until(stood, "PAID"), keep_claim=True)
            paid = await committed(store, change)
            assert paid.claimed_by == "", "nobody holds what is settled"
            assert await store.claim_events(10, 30.0) == list(change.events)

    asyncio.run(scenario())
