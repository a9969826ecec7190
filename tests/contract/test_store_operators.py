"""The Store port as operators use it: claims kept and given back, searches, the census, pauses."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from adapters.postgres.sql_store import SqlStore
from coordinator.domain.entries import Act, Attention, EntryKind, Hold
from coordinator.domain.errors import Bug
from coordinator.domain.machine import State
from coordinator.domain.operating import Mandate, held, noted, unheld
from coordinator.domain.outcome import Unknown
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Change, Draft, Transaction
from coordinator.ports import LostRace, Pause, TransactionQuery
from tests.support.stores import Stores
from tests.support.transactions import (
    START,
    answered,
    commit_of,
    committed,
    creation,
    new_id,
    opened,
    released,
    stepped,
    until,
)

ALICE = Mandate("alice", "the bank asked us to wait", "ticket 7")


def in_doubt(**options: str) -> Draft:
    """A payment whose card's capture was not answered."""
    draft = until(opened(**options).transaction, "CAPTURING")  # type: ignore[arg-type]
    return answered(draft, "card_charge", Unknown("UNAVAILABLE", "reset"))


async def made(store: SqlStore, draft: Draft) -> Transaction:
    """Commits a payment as it is after several moves: first its creation, then the rest."""
    first = await committed(store, creation(opened(transaction_id=draft.transaction.id)))
    moved = evolve(draft.transaction, version=first.version, sequence=first.sequence)
    return await committed(store, commit_of(Draft(moved)))


def test_a_renewed_claim_does_not_run_out(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            kept = await committed(one, creation(keep_claim=True))
            stores.expire_claims()
            assert await one.renew_claims([kept.id]) == {kept.id}
            assert await two.claim_due(10) == []
            assert await one.get(kept.id) == kept, "not even its version changes"

    asyncio.run(scenario())


def test_a_claim_that_another_process_took_over_is_not_renewed(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            lost = await committed(one, creation(keep_claim=True))
            stores.expire_claims()
            (taken,) = await two.claim_due(10)
            assert await one.renew_claims([lost.id]) == frozenset()
            assert await two.get(lost.id) == taken

    asyncio.run(scenario())


def test_a_settled_transaction_has_no_claim_to_renew(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            first = await committed(store, creation(keep_claim=True))
            await committed(store, commit_of(until(first, "PAID"), keep_claim=True))
            assert await store.renew_claims([first.id]) == frozenset()
            assert await store.renew_claims([]) == frozenset()

    asyncio.run(scenario())


def test_claims_that_are_given_back_are_due_at_once_for_others(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as one, stores.open("two") as two:
            mine = [await committed(one, creation(keep_claim=True)) for _ in range(3)]
            other = await committed(two, creation(keep_claim=True))
            assert await one.release_claims() == 3
            assert {each.id for each in await two.claim_due(10)} == {each.id for each in mine}
            assert await two.get(other.id) == other
            assert await one.release_claims() == 0

    asyncio.run(scenario())


def test_a_write_after_its_claim_was_given_back_loses_its_race(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation(keep_claim=True))
            await store.release_claims()
            assert await store.commit(commit_of(stepped(Draft(stood)))) == LostRace()

    asyncio.run(scenario())


def test_a_claim_tells_its_holder_and_how_long_it_lasts(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open("one", lease_s=30.0) as store:
            stood = await committed(store, creation(keep_claim=True))
            claim = await store.claim_of(stood.id)
            assert claim is not None
            assert claim.owner == "one"
            assert 20.0 < claim.seconds_left <= 30.0
            stores.expire_claims()
            assert await store.claim_of(stood.id) is None
            assert await store.claim_of(new_id()) is None

    asyncio.run(scenario())


def test_what_an_operator_holds_is_claimed_by_nobody_until_it_is_given_free(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            stood = await committed(store, commit_of(held(Draft(stood), ALICE, START)))
            assert stood.hold == Hold("alice", "the bank asked us to wait")
            assert await store.get(stood.id) == stood
            assert await store.claim_due(10) == []
            stood = await committed(store, commit_of(unheld(Draft(stood), ALICE, START)))
            assert [each.id for each in await store.claim_due(10)] == [stood.id]

    asyncio.run(scenario())


def test_the_journal_tells_who_acted_why_and_on_what_evidence(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            draft = noted(Draft(stood), Act.RESOLVE, ALICE, START, "card_charge")
            stood = await committed(store, commit_of(draft))
            (line,) = await store.journal(stood.id, 1, 10)
            assert (line.kind, line.event, line.phase) == (
                EntryKind.OPERATOR,
                "resolve",
                "card_charge",
            )
            assert (line.actor, line.detail, line.evidence) == (
                "alice",
                "the bank asked us to wait",
                "ticket 7",
            )
            assert line.from_state is line.to_state is State.CREATED

    asyncio.run(scenario())


@pytest.mark.parametrize("broken", [{"actor": ""}, {"event": "bribe"}, {"to_state": State.PAID}])
def test_the_schema_refuses_an_act_of_nobody_or_of_no_known_kind(
    stores: Stores, broken: dict[str, object]
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            change = commit_of(noted(Draft(stood), Act.RESUME, ALICE, START))
            entry = evolve(change.entries[0], **broken)
            after = evolve(change.after, state=entry.to_state)
            wrong: Change = evolve(change, entries=(entry,), after=after)
            with pytest.raises(Bug):
                await store.commit(wrong)

    asyncio.run(scenario())


def test_attention_is_announced_beside_the_settled_state(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            draft = until(stood, "CAPTURING")
            for _ in range(10):
                draft = answered(
                    draft, "card_charge", Unknown("UNAVAILABLE"), now=START + timedelta(days=1)
                )
                draft = evolve(
                    draft,
                    transaction=evolve(
                        draft.transaction,
                        steps=tuple(
                            evolve(step, next_attempt_at=None) for step in draft.transaction.steps
                        ),
                    ),
                )
            assert len(draft.events) == 1
            await committed(store, commit_of(draft))
            (event,) = await store.claim_events(10, 5.0)
            assert event == draft.events[0]
            assert event.attention is not None

    asyncio.run(scenario())


def test_a_search_finds_by_every_filter(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            fresh = await committed(store, creation(opened(caller="kiosk", flow="points_only")))
            paid = await made(store, until(opened().transaction, "PAID"))
            doubt = await made(store, in_doubt())
            failing = await made(store, released(opened().transaction))
            flagged = await committed(
                store,
                commit_of(
                    Draft(
                        evolve(
                            (await made(store, until(opened().transaction, "SETTLING"))),
                            attention=Attention("TOO_OLD", "old"),
                        )
                    )
                ),
            )
            frozen = await committed(
                store,
                commit_of(held(Draft(await committed(store, creation())), ALICE, START)),
            )
            everything = [frozen, flagged, failing, doubt, paid, fresh]

            async def found(**filters: object) -> list[str]:
                query = TransactionQuery(**filters)  # type: ignore[arg-type]
                page: list[str] = [each.id for each in await store.search(query)]
                assert await store.count(query, 100) == len(page)
                return page

            def ids(*wanted: Transaction) -> list[str]:
                return [each.id for each in everything if each in wanted]

            assert await found() == ids(*everything)
            assert await found(live=True) == ids(fresh, doubt, failing, flagged, frozen)
            assert await found(states=(State.PAID, State.CAPTURING)) == ids(paid, doubt)
            assert await found(attention=True) == ids(flagged)
            assert await found(held=True) == ids(frozen)
            assert await found(phases=("card_charge",)) == ids(doubt)
            assert await found(phases=("points_reserve",)) == []
            assert await found(error="UNAVAILABLE") == ids(doubt)
            assert await found(error="TOO_OLD") == ids(flagged)
            assert await found(caller="kiosk") == ids(fresh)
            assert await found(flow="points_only") == ids(fresh)
            assert await found(in_state_before=START) == []
            late = START + timedelta(seconds=1)
            assert await found(in_state_before=late) == ids(*everything)

    asyncio.run(scenario())


def test_a_search_goes_on_where_its_page_ended(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            every = [(await committed(store, creation())).id for _ in range(5)]
            page = [each.id for each in await store.search(TransactionQuery(limit=2))]
            rest = await store.search(TransactionQuery(limit=10, before=page[-1]))
            assert page + [each.id for each in rest] == sorted(every, reverse=True)
            assert await store.count(TransactionQuery(before=page[-1]), 100) == 5
            assert await store.count(TransactionQuery(), 3) == 3

    asyncio.run(scenario())


def test_the_census_counts_what_is_live(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            await committed(store, creation())
            claimed = await committed(store, creation(keep_claim=True))
            await committed(store, commit_of(held(Draft(claimed), ALICE, START)))
            await made(store, until(opened().transaction, "PAID"))
            doubt = await made(store, in_doubt())
            await committed(
                store, commit_of(Draft(evolve(doubt, attention=Attention("TOO_OLD", "old"))))
            )
            census = await store.census()
            assert census.by_state == {State.CREATED: 2, State.CAPTURING: 1}
            assert set(census.oldest_s) == {State.CREATED, State.CAPTURING}
            assert all(age > 3600 for age in census.oldest_s.values())
            assert census.attention == {"TOO_OLD": 1}
            assert census.held == 1
            assert census.overdue == 2
            assert census.overdue_oldest_s > 3600
            assert set(census.waiting) == {"card_charge"}
            assert census.waiting["card_charge"].count == 1
            assert (census.outbox, census.outbox_oldest_s > 3600) == (0, False)

    asyncio.run(scenario())


def test_the_census_of_an_empty_table_is_empty(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            census = await store.census()
            assert (census.by_state, census.attention, census.waiting) == ({}, {}, {})
            assert (census.held, census.overdue, census.outbox) == (0, 0, 0)

    asyncio.run(scenario())


def test_a_pause_is_kept_replaced_and_ended(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            first = Pause("points_only", "alice", "points are being moved", START)
            await store.pause(first)
            assert await store.pauses() == [first]
            second = evolve(first, actor="bob", reason="still", since=START + timedelta(hours=1))
            await store.pause(second)
            assert await store.pauses() == [second]
            assert await store.unpause("points_only")
            assert await store.pauses() == []
            assert not await store.unpause("points_only")

    asyncio.run(scenario())


def test_a_pause_that_ends_by_itself_does_not_replace_an_operators(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            ends = Pause("card_only", "kessai", "many fail", START, START + timedelta(seconds=30))
            await store.pause(ends)
            later = evolve(ends, until=START + timedelta(seconds=60))
            await store.pause(later)
            assert await store.pauses() == [later]
            stays = Pause("card_only", "alice", "maintenance", START)
            await store.pause(stays)
            await store.pause(later)
            assert await store.pauses() == [stays]

    asyncio.run(scenario())
