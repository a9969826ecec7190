"""The Store port when the database fails: every commit is known to be done, or known not to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from adapters.postgres.group_writer import ATTEMPTS
from adapters.postgres.trouble import ConnectionLost, TransientConflict
from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.transaction import Draft
from coordinator.ports import Committed, KeyTaken, LostRace
from tests.support.stores import Stores
from tests.support.transactions import (
    commit_of,
    committed,
    creation,
    opened,
    stepped,
    touched,
    until,
)


def _failing(point: str, error: type[Exception], times: int) -> Callable[[str], None]:
    left = [times]

    def faults(here: str) -> None:
        if here == point and left[0]:
            left[0] -= 1
            raise error

    return faults


def test_an_announcement_is_durable_together_with_the_state_that_it_tells(stores: Stores) -> None:
    seen: list[tuple[object, ...]] = []

    def look(point: str) -> None:
        if point == "after_commit":
            seen[:] = stores.rows("SELECT t.state, o.state FROM transactions t, outbox o")

    async def scenario() -> None:
        async with stores.open(faults=look) as store:
            stood = await committed(store, creation())
            await committed(store, commit_of(until(stood, "PAID")))
            assert seen == [("PAID", "PAID")]

    asyncio.run(scenario())


@pytest.mark.parametrize("done", [True, False], ids=["was done", "was not done"])
def test_a_commit_whose_answer_is_lost_is_settled_by_reading_again(
    stores: Stores, done: bool
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = [await committed(store, creation()) for _ in range(3)]
            beaten = stood[0]
            await committed(store, touched(beaten))
            new = creation()
            broken = stores.break_commit(store, times=1, committed=done)
            results = await asyncio.gather(
                *(store.commit(commit_of(until(each, "PAID"))) for each in stood),
                store.commit(new),
                store.commit(creation(opened(key=beaten.idempotency_key))),
            )
            assert broken
            assert results[0] == LostRace()
            assert results[4] == KeyTaken(beaten.id)
            for result in results[1:4]:
                assert isinstance(result, Committed)
                fresh = await store.get(result.transaction.id)
                assert fresh == result.transaction
                lines = await store.journal(fresh.id, 0, 100)
                assert [line.sequence for line in lines] == list(range(1, fresh.sequence + 1))
            assert stores.rows("SELECT count(*) FROM outbox") == [(2,)]

    asyncio.run(scenario())


@pytest.mark.parametrize("done", [True, False], ids=["was done", "was not done"])
def test_a_commit_that_stays_unknown_is_unavailable_and_the_store_goes_on(
    stores: Stores, done: bool
) -> None:
    async def scenario() -> None:
        async with stores.open() as store:
            stood = await committed(store, creation())
            change = commit_of(stepped(Draft(stood)))
            broken = stores.break_commit(store, times=5, committed=done)
            with pytest.raises(StoreUnavailable):
                await store.commit(change)
            assert len(broken) == 5
            fresh = await store.get(stood.id)
            assert fresh == (change.after if done else stood)
            assert isinstance(await store.commit(creation()), Committed)

    asyncio.run(scenario())


def test_a_write_that_was_overtaken_while_unknown_is_a_lost_race(stores: Stores) -> None:
    async def scenario() -> None:
        async with stores.open("two") as other:
            stood = await committed(other, creation())

            def faults(point: str) -> None:
                if point == "after_commit" and not overtaken:
                    stores.expire_claims()
                    stores.execute("UPDATE transactions SET version = version + 1")
                    overtaken.append(True)
                    raise ConnectionLost

            overtaken: list[bool] = []
            async with stores.open(faults=faults) as store:
                assert await store.commit(touched(stood)) == LostRace()

    asyncio.run(scenario())


@pytest.mark.parametrize("point", ["before_write", "before_commit"])
@pytest.mark.parametrize("error", [TransientConflict, ConnectionLost])
def test_a_failure_before_commit_repeats_the_whole_group_a_bounded_number_of_times(
    stores: Stores, point: str, error: type[Exception]
) -> None:
    async def scenario() -> None:
        async with stores.open(faults=_failing(point, error, 4)) as store:
            changes = [creation() for _ in range(4)]
            results = await asyncio.gather(*(store.commit(change) for change in changes))
            assert all(isinstance(result, Committed) for result in results)
        async with stores.open("two", faults=_failing(point, error, 5)) as store:
            failures = await asyncio.gather(
                *(store.commit(creation()) for _ in range(4)), return_exceptions=True
            )
            assert all(isinstance(failure, StoreUnavailable) for failure in failures)
            assert stores.rows("SELECT count(*) FROM transactions") == [(4,)]
            assert isinstance(await store.commit(creation()), Committed)

    asyncio.run(scenario())


def test_a_lost_answer_and_then_a_data_error_beside_it_still_settle_each_write(
    stores: Stores,
) -> None:
    async def scenario() -> None:
        faults = _failing("after_commit", ConnectionLost, 1)
        failing = iter([False, True])

        def then_data(point: str) -> None:
            if point == "before_commit" and next(failing, False):
                raise ValueError("only the repeated group fails")
            faults(point)

        async with stores.open(faults=then_data) as store:
            changes = [creation() for _ in range(4)]
            results = await asyncio.gather(*(store.commit(change) for change in changes))
            assert all(isinstance(result, Committed) for result in results)

    asyncio.run(scenario())


def test_closing_does_not_try_a_whole_queue_on_a_database_that_is_away(stores: Stores) -> None:
    tried: list[str] = []

    def away(point: str) -> None:
        tried.append(point)
        raise ConnectionLost

    async def scenario() -> None:
        store = stores.make(batch_limit=1, queue_limit=200, faults=away)
        await store.start()
        writes = [asyncio.ensure_future(store.commit(creation())) for _ in range(90)]
        await asyncio.wait(writes, timeout=0)
        await store.close()
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(result, StoreUnavailable) for result in results)
        assert len(tried) <= 2 * ATTEMPTS, "the group under way and at most the next"
        assert store.queued == 0

    asyncio.run(scenario())
