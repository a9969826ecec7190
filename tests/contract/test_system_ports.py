"""The real clock, identifiers and randomness keep their ports' promises."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from adapters.system import SystemClock, SystemIds, SystemRandomness
from coordinator.domain.ids import parse_transaction_id


def test_the_time_is_utc_and_sleeping_takes_at_least_as_long_as_asked() -> None:
    clock = SystemClock()
    before = clock.now()
    assert before.utcoffset() == timedelta(0)
    asyncio.run(clock.sleep(0.02))
    assert clock.now() - before >= timedelta(seconds=0.015)


def test_the_counter_for_durations_never_goes_back() -> None:
    clock = SystemClock()
    read = [clock.monotonic() for _ in range(1000)]
    assert read == sorted(read)
    assert read[-1] > read[0]


def test_ids_are_canonical_uuids_of_version_7_and_sort_by_age() -> None:
    ids = [SystemIds().transaction_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert all(parse_transaction_id(text) == text for text in ids)
    assert {UUID(text).version for text in ids} == {7}


def test_draws_are_spread_over_0_to_1() -> None:
    randomness = SystemRandomness()
    draws = [randomness.draw() for _ in range(2000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert min(draws) < 0.1
    assert max(draws) > 0.9
