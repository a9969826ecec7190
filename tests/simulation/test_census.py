"""The census: what a look at the database shows, and what it shows when there is no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.machine import State
from coordinator.domain.record import evolve
from coordinator.metrics.census import TakeCensus
from coordinator.metrics.instruments import Instruments
from coordinator.ports import Census, Pause, Waiting
from fault_injection.virtual_time import EPOCH, VirtualClock, run

NOTHING = Census({}, {}, {}, 0, 0, 0.0, {}, 0, 0.0)
SEEN = Census(
    by_state={State.CREATED: 3, State.CAPTURING: 2, State.CANCELLING: 1},
    oldest_s={State.CREATED: 900.0, State.CAPTURING: 40.0, State.CANCELLING: 70.0},
    attention={"TOO_OLD": 1, "WHATEVER_IT_SAYS": 1, "SOMETHING_ELSE": 2},
    held=4,
    overdue=5,
    overdue_oldest_s=6.0,
    waiting={"card_charge": Waiting(7, 8.0)},
    outbox=9,
    outbox_oldest_s=10.0,
)


class Database:
    """A store that answers what the test says."""

    def __init__(self) -> None:
        self.seen = NOTHING
        self.paused: Sequence[Pause] = ()
        self.down = False

    async def census(self) -> Census:
        if self.down:
            raise StoreUnavailable("connection refused")
        return self.seen

    async def pauses(self) -> Sequence[Pause]:
        return self.paused


class Looking:
    """A census taker, its database, and what it shows."""

    def __init__(self) -> None:
        self.database = Database()
        self.instruments = Instruments("1.2.3")
        self.census = TakeCensus(
            self.instruments,
            store=cast("Any", self.database),
            clock=VirtualClock(),
            flows=["card_only", "points_only"],
            phases=["card_charge", "points_reserve"],
        )

    async def look(self) -> None:
        assert await self.census.run_once() == 0, "the next look is not at once"

    def read(self, name: str, **labels: str) -> float | None:
        return self.instruments.registry.get_sample_value(f"kessai_{name}", labels)

    def all(self, name: str) -> Mapping[str, float]:
        """Every value of a metric with one label."""
        return {
            next(iter(sample.labels.values())): sample.value
            for family in self.instruments.registry.collect()
            for sample in family.samples
            if sample.name == f"kessai_{name}"
        }


@pytest.fixture
def looking() -> Looking:
    return Looking()


def test_a_look_shows_what_is_live_and_how_old_it_is(looking: Looking) -> None:
    looking.database.seen = SEEN
    run(looking.look())
    states = {"CREATED": 3, "RESERVED": 0, "CAPTURING": 2, "SETTLING": 0, "CANCELLING": 1}
    assert looking.all("live_transactions") == states
    assert looking.read("live_oldest_seconds", state="CREATED") == 900
    assert (looking.read("held_transactions"), looking.read("overdue_transactions")) == (4, 5)
    assert looking.read("overdue_oldest_seconds") == 6
    assert (looking.read("outbox_events"), looking.read("outbox_oldest_seconds")) == (9, 10)
    assert looking.all("waiting_steps") == {"card_charge": 7, "points_reserve": 0}
    assert looking.all("waiting_oldest_seconds") == {"card_charge": 8, "points_reserve": 0}


def test_in_doubt_is_what_is_decided_and_not_finished(looking: Looking) -> None:
    looking.database.seen = SEEN
    run(looking.look())
    assert looking.read("in_doubt_transactions") == 3
    assert looking.read("in_doubt_oldest_seconds") == 70, "what is not decided is not in doubt"


def test_codes_of_participants_are_counted_as_one(looking: Looking) -> None:
    looking.database.seen = SEEN
    run(looking.look())
    shown = {code: value for code, value in looking.all("attention_transactions").items() if value}
    assert shown == {"TOO_OLD": 1, "OTHER": 3}


def test_what_is_over_goes_back_to_0(looking: Looking) -> None:
    looking.database.seen = SEEN
    run(looking.look())
    looking.database.seen = NOTHING
    run(looking.look())
    assert set(looking.all("live_transactions").values()) == {0}
    assert set(looking.all("attention_transactions").values()) == {0}
    assert looking.read("in_doubt_oldest_seconds") == 0
    assert looking.all("waiting_steps") == {"card_charge": 0, "points_reserve": 0}


def test_a_flow_is_paused_until_its_pause_is_over(looking: Looking) -> None:
    pause = Pause("card_only", "kessai", "too many failures", EPOCH, EPOCH + timedelta(seconds=60))
    looking.database.paused = [pause]

    async def at(seconds: float) -> Mapping[str, float]:
        await VirtualClock().sleep(seconds)
        await looking.look()
        return looking.all("flow_paused")

    assert run(at(59)) == {"card_only": 1, "points_only": 0}
    assert run(at(60)) == {"card_only": 0, "points_only": 0}
    looking.database.paused = [evolve(pause, until=None)]
    assert run(at(9999)) == {"card_only": 1, "points_only": 0}


def test_without_the_database_it_says_so_and_keeps_what_it_saw(looking: Looking) -> None:
    looking.database.seen = SEEN

    async def look_twice() -> None:
        await VirtualClock().sleep(5)
        await looking.look()
        looking.database.down = True
        await VirtualClock().sleep(5)
        await looking.look()

    with pytest.raises(StoreUnavailable):
        run(look_twice())
    assert looking.read("store_up") == 0
    assert looking.read("in_doubt_transactions") == 3
    assert looking.read("census_timestamp_seconds") == EPOCH.timestamp() + 5


def test_with_the_database_back_it_is_up_again(looking: Looking) -> None:
    looking.database.down = True
    with pytest.raises(StoreUnavailable):
        run(looking.look())
    looking.database.down = False
    run(looking.look())
    assert looking.read("store_up") == 1
