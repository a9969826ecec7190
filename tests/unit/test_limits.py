"""Limits per caller: the token bucket, and what the use case makes of a refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from hypothesis import given
from hypothesis import strategies as st

from coordinator.domain.errors import (
    InvalidRequest,
    KeyReused,
    Overloaded,
    RateLimited,
    TooManyLive,
)
from coordinator.domain.ids import TransactionId
from coordinator.engine.limits import CallerLimits, Limits, TokenBucket
from coordinator.ports import PaymentQuery
from coordinator.rpc.errors import status_of
from fault_injection.model_participant import LoseRequest, Script, no_faults
from fault_injection.virtual_time import run
from fault_injection.world import World, payment

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def taken(bucket: TokenBucket, now: datetime) -> int:
    """How many tokens there are at once."""
    count = 0
    while not bucket.take(now):
        count += 1
    return count


@pytest.mark.parametrize(
    ("per_second", "burst"), [(50, 50), (2.5, 2), (1, 1), (0.5, 1), (0.001, 1)]
)
def test_a_burst_is_one_seconds_worth_and_at_least_one(per_second: float, burst: int) -> None:
    bucket = TokenBucket(per_second, NOW)
    assert taken(bucket, NOW) == burst
    assert taken(bucket, later(10_000)) == burst, "what is not used does not pile up"


@given(per_second=st.floats(0.001, 1000), passed_s=st.floats(0, 2000))
def test_who_waits_as_long_as_told_gets_a_token_and_not_two(
    per_second: float, passed_s: float
) -> None:
    bucket = TokenBucket(per_second, NOW)
    now = later(passed_s)
    taken(bucket, now)
    wait_s = bucket.take(now)
    assert 0 < wait_s <= 1 / per_second + 0.001
    assert bucket.take(now) == wait_s, "asking costs nothing"
    assert not bucket.take(now + timedelta(seconds=wait_s))
    assert per_second > 500 or bucket.take(now + timedelta(seconds=wait_s))


def test_a_clock_that_is_set_back_gives_nothing_and_stops_nothing() -> None:
    bucket = TokenBucket(1, NOW)
    assert not bucket.take(NOW)
    assert bucket.take(later(-3600)) == 1.0
    assert not bucket.take(later(-3599))


def on(
    limits: dict[str, CallerLimits],
    story: Callable[[World], Awaitable[None]],
    script: Script = no_faults,
) -> None:
    """Runs a story in a fresh world with these limits."""

    async def program() -> None:
        world = World(script)
        world.limits = limits
        await world.start()
        try:
            await story(world)
        finally:
            await world.close()

    run(program())


async def made(world: World, caller: str = "shop") -> int:
    """How many payments a caller has."""
    return len(await world.store.list_payments(PaymentQuery(caller)))


def test_an_amount_over_the_callers_limit_is_refused_naming_it() -> None:
    async def story(world: World) -> None:
        with pytest.raises(InvalidRequest) as caught:
            await world.accept(payment(amount=1001), 0.0)
        (violation,) = caught.value.violations
        assert (violation.field, violation.code) == ("amount.minor_units", "AMOUNT_OVER_LIMIT")
        assert "1000 minor units" in violation.message
        assert await made(world) == 0
        await world.accept(payment(amount=1000), 0.0)
        await world.accept(payment(amount=1001, caller="rival"), 0.0)

    on({"shop": CallerLimits(max_amount_minor=1000)}, story)


def test_a_callers_limit_does_not_raise_the_limit_of_all() -> None:
    async def story(world: World) -> None:
        with pytest.raises(InvalidRequest, match="at most 1000000000 minor units"):
            await world.accept(payment(amount=10**9 + 1), 0.0)

    on({"shop": CallerLimits(max_amount_minor=10**10)}, story)


def test_live_payments_are_limited_until_one_of_them_ends() -> None:
    def script(_id: TransactionId, _call: object, attempt: int) -> LoseRequest | None:
        return LoseRequest() if attempt == 1 else None

    async def story(world: World) -> None:
        first = await world.accept(payment(key="1"), 0.0)
        await world.accept(payment(key="2"), 0.0)
        with pytest.raises(TooManyLive) as caught:
            await world.accept(payment(key="3"), 0.0)
        assert caught.value.facts == {"limit": "2"}
        assert await made(world) == 2
        assert (await world.accept(payment(key="1"), 0.0)).replayed
        with pytest.raises(KeyReused):
            await world.accept(payment(key="1", amount=999), 0.0)
        await world.accept(payment(key="1", caller="rival"), 0.0)
        await world.until_settled(first.transaction.id)
        assert not (await world.accept(payment(key="3"), 0.0)).replayed

    on({"shop": CallerLimits(max_live=2)}, story, script)


def test_the_rate_is_limited_and_recovers_when_the_refusal_said() -> None:
    async def story(world: World) -> None:
        await world.accept(payment(key="1"), 0.0)
        await world.accept(payment(key="2"), 0.0)
        with pytest.raises(RateLimited) as caught:
            await world.accept(payment(key="3"), 0.0)
        assert caught.value.retry_after_s == 0.5
        assert await made(world) == 2
        assert (await world.accept(payment(key="2"), 0.0)).replayed
        await world.accept(payment(key="1", caller="rival"), 0.0)
        await world.clock.sleep(0.5)
        assert not (await world.accept(payment(key="3"), 0.0)).replayed
        with pytest.raises(RateLimited):
            await world.accept(payment(key="4"), 0.0)

    on({"*": CallerLimits(per_second=2)}, story)


def test_an_entry_of_its_own_stands_alone() -> None:
    async def story(world: World) -> None:
        for number in range(3):
            await world.accept(payment(key=f"{number}"), 0.0)
        await world.accept(payment(key="1", caller="rival"), 0.0)
        with pytest.raises(RateLimited):
            await world.accept(payment(key="2", caller="rival"), 0.0)

    on({"*": CallerLimits(per_second=1), "shop": CallerLimits(max_live=10)}, story)


def test_live_payments_are_counted_only_for_callers_that_have_the_limit() -> None:
    async def story(world: World) -> None:
        async def count_live(caller: str, at_most: int) -> int:
            raise AssertionError(f"counted for {caller}, up to {at_most}")

        world.store.count_live = count_live  # type: ignore[method-assign]
        limits = Limits(
            {"shop": CallerLimits(per_second=1, max_amount_minor=1)},
            store=world.store,
            clock=world.clock,
        )
        await limits.admit("shop")
        await limits.admit("rival")

    on({}, story)


@pytest.mark.parametrize(
    ("error", "delay_s"),
    [(RateLimited(3, 0.334), 0.334), (TooManyLive(2), 1.0), (Overloaded(2), 1.0)],
)
def test_the_refusal_says_when_to_come_back(error: Exception, delay_s: float) -> None:
    info = RetryInfo()
    assert status_of(error).details[-1].Unpack(info)
    assert info.retry_delay.ToTimedelta().total_seconds() == delay_s
