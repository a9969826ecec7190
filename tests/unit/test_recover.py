"""How fast recovery takes transactions up: a window that grows while they end."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import pytest

from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.ids import TransactionId
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Transaction
from coordinator.engine.drive import Driver
from coordinator.engine.recover import BATCH, CROWD, LARGEST, LEAST, SMALL, Recover
from coordinator.ports import Store
from fault_injection.virtual_time import VirtualClock, run
from tests.support.domain import FLOWS, opened

EXAMPLE = opened().transaction


class FakeStore:
    """Always has more, until `due` runs out."""

    def __init__(self, due: int = 1_000_000) -> None:
        self.due = due
        self.away = False
        self.asked: list[int] = []

    async def claim_due(self, limit: int, flows: Collection[str]) -> list[Transaction]:
        assert EXAMPLE.flow in flows
        self.asked.append(limit)
        if self.away:
            raise StoreUnavailable
        found = min(limit, self.due)
        self.due -= found
        return [evolve(EXAMPLE, id=TransactionId(f"{self.due + n}")) for n in range(found)]


class FakeDriver:
    """Drives what is started until a test ends it."""

    def __init__(self) -> None:
        self.driven: set[TransactionId] = set()
        self.committing = 0

    @property
    def in_flight(self) -> int:
        return len(self.driven)

    def start(self, transaction: Transaction) -> None:
        self.driven.add(transaction.id)

    def drives(self, transaction_id: TransactionId) -> bool:
        return transaction_id in self.driven


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def recover(store: FakeStore, driver: FakeDriver) -> Recover:
    return Recover(
        store=cast("Store", store),
        driver=cast("Driver", driver),
        flows=FLOWS,
        max_in_flight=5000,
        clock=VirtualClock(),
    )


def grown(recover: Recover, driver: FakeDriver, passes: int = 50) -> None:
    for _ in range(passes):
        run(recover.run_once())
        driver.driven.clear()


def test_it_begins_small_and_takes_more_the_more_has_ended(
    recover: Recover, store: FakeStore, driver: FakeDriver
) -> None:
    grown(recover, driver, passes=4)
    assert store.asked == [SMALL, 2 * SMALL, BATCH, BATCH]
    grown(recover, driver)
    assert recover.window == LARGEST


def test_while_nothing_ends_it_takes_hardly_any_more_but_never_nothing(
    recover: Recover, store: FakeStore
) -> None:
    for _ in range(4):
        assert run(recover.run_once()) > 0
    assert store.asked == [SMALL, LEAST, LEAST, LEAST]
    assert recover.window == SMALL


def test_it_is_small_again_after_the_database_failed(
    recover: Recover, store: FakeStore, driver: FakeDriver
) -> None:
    grown(recover, driver)
    store.away = True
    with pytest.raises(StoreUnavailable):
        run(recover.run_once())
    store.away = False
    run(recover.run_once())
    assert store.asked[-1] == SMALL


def test_it_is_small_again_for_the_next_backlog(
    recover: Recover, store: FakeStore, driver: FakeDriver
) -> None:
    grown(recover, driver)
    store.due = 5
    assert run(recover.run_once()) == 5
    assert recover.window == SMALL


def test_while_many_commits_are_under_way_it_takes_hardly_any(
    recover: Recover, store: FakeStore, driver: FakeDriver
) -> None:
    driver.committing = CROWD
    assert run(recover.run_once()) == LEAST
    driver.committing = CROWD - 1
    run(recover.run_once())
    assert store.asked == [LEAST, SMALL - LEAST]


def test_a_process_that_drives_as_much_as_it_may_takes_hardly_any(
    recover: Recover, store: FakeStore, driver: FakeDriver
) -> None:
    driver.driven = {TransactionId(f"mine-{number}") for number in range(5000)}
    run(recover.run_once())
    assert store.asked == [LEAST]
