"""The bound and the breaker in front of a participant, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from adapters.breaker import TRIAL_WAIT_S
from adapters.guarded_participant import (
    BUSY_RETRY_S,
    LONGEST_HOLD_BACK_S,
    Guard,
    GuardedParticipant,
)
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Applied, Outcome, Pending, Refused, Unknown
from coordinator.domain.phase import Operation
from coordinator.ports import BreakerState
from fault_injection.virtual_time import VirtualClock, run
from fault_injection.world import Recorder
from phases.points_reserve import POINTS_RESERVE
from tests.support.domain import ID, NOW, opened

DOWN = Unknown("UNAVAILABLE", "connection refused")
LATE = Unknown("DEADLINE_EXCEEDED")
FAILURES = 3
OPEN_S = 5.0


class Behind:
    """What stands behind the guard: answers as `says` when it is called, after `takes_s`."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.observer = Recorder()
        self.says: Outcome | Exception = DOWN
        self.takes_s = 0.0
        self.arrived: list[Call] = []

    async def perform(
        self, _transaction_id: TransactionId, call: Call, _hold_until: datetime
    ) -> Outcome:
        self.arrived.append(call)
        says = self.says
        await self.clock.sleep(self.takes_s)
        if isinstance(says, Exception):
            raise says
        return says

    def guarded(self, **guard: float) -> GuardedParticipant:
        """A guard in front of it."""
        limits = {"breaker_failures": FAILURES, "breaker_open_s": OPEN_S} | guard
        return GuardedParticipant(
            "points",
            self,
            Guard(**limits),  # type: ignore[arg-type] # a test's numbers
            clock=self.clock,
            observer=self.observer,
        )


def call(operation: Operation = Operation.TRY, timeout_s: float = 2.0) -> Call:
    step = opened().transaction.step("points_reserve")
    return Call(POINTS_RESERVE, operation, step, timeout_s)


async def ask(
    guard: GuardedParticipant, operation: Operation = Operation.TRY, timeout_s: float = 2.0
) -> Outcome:
    return await guard.perform(ID, call(operation, timeout_s), NOW)


async def broken(guard: GuardedParticipant, failures: int = FAILURES) -> None:
    """Fails so often."""
    for _ in range(failures):
        await ask(guard)


def on_virtual_time(test: Callable[[Behind], Awaitable[None]]) -> Callable[[], None]:
    """The test, called with what stands behind the guard."""

    def sync() -> None:
        async def call_it() -> None:
            await test(Behind())

        run(call_it())

    sync.__name__ = test.__name__
    return sync


def held_back_s(outcome: Outcome, code: str = "BREAKER_OPEN") -> float:
    assert isinstance(outcome, Unknown)
    assert outcome.code == code
    assert outcome.retry_after_s is not None
    return outcome.retry_after_s


@on_virtual_time
async def test_failures_in_a_row_open_the_breaker_and_nothing_leaves(behind: Behind) -> None:
    guard = behind.guarded()
    await broken(guard)
    assert held_back_s(await ask(guard)) == OPEN_S
    assert len(behind.arrived) == FAILURES
    assert behind.observer.breakers == [("points", BreakerState.OPEN)]


@on_virtual_time
async def test_an_answer_between_failures_keeps_it_closed(behind: Behind) -> None:
    guard = behind.guarded()
    for _ in range(4):
        behind.says = DOWN
        await broken(guard, FAILURES - 1)
        behind.says = Applied()
        await ask(guard)
    assert guard.status().breaker is BreakerState.CLOSED
    assert guard.status().failures == 0


@pytest.mark.parametrize(
    "answer",
    [
        Applied(),
        Refused("INSUFFICIENT_POINTS", "not enough"),
        Pending(),
        Unknown("UNKNOWN_TRANSACTION"),
        Unknown("ANSWER_MISMATCH", suspicious=True),
        Unknown("ADAPTER_ERROR", "TypeError"),
        Unknown("CHANNEL_CLOSED"),
    ],
    ids=repr,
)
def test_what_is_no_silence_never_opens_it(answer: Outcome) -> None:
    @on_virtual_time
    async def program(behind: Behind) -> None:
        behind.says = answer
        guard = behind.guarded()
        await broken(guard, 3 * FAILURES)
        assert guard.status().breaker is BreakerState.CLOSED

    program()


@on_virtual_time
async def test_after_its_time_one_call_goes_ahead_and_the_others_wait(behind: Behind) -> None:
    guard = behind.guarded()
    await broken(guard)
    await behind.clock.sleep(OPEN_S)
    behind.says, behind.takes_s = Applied(), 0.5
    outcomes = await asyncio.gather(*(ask(guard) for _ in range(10)))
    assert outcomes.count(Applied()) == 1
    assert {held_back_s(each) for each in outcomes[1:]} == {TRIAL_WAIT_S}
    assert guard.status().breaker is BreakerState.CLOSED
    assert await ask(guard) == Applied()
    assert [state for _, state in behind.observer.breakers] == [
        BreakerState.OPEN,
        BreakerState.HALF_OPEN,
        BreakerState.CLOSED,
    ]


@on_virtual_time
async def test_a_failed_trial_opens_it_again_at_once(behind: Behind) -> None:
    guard = behind.guarded()
    await broken(guard)
    await behind.clock.sleep(OPEN_S)
    assert await ask(guard) == DOWN
    assert held_back_s(await ask(guard)) == OPEN_S
    assert guard.status().opens == 2


@on_virtual_time
async def test_an_abandoned_trial_lets_the_next_call_try(behind: Behind) -> None:
    guard = behind.guarded()
    await broken(guard)
    await behind.clock.sleep(OPEN_S)
    behind.says, behind.takes_s = Applied(), 100.0
    trial = asyncio.create_task(ask(guard))
    await behind.clock.sleep(0.1)
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    behind.takes_s = 0.0
    assert await ask(guard) == Applied()
    assert guard.status().in_flight == 0


@on_virtual_time
async def test_what_left_before_it_opened_is_old_news(behind: Behind) -> None:
    guard = behind.guarded()
    behind.says, behind.takes_s = Applied(), OPEN_S + 1.0
    early = asyncio.create_task(ask(guard))
    await behind.clock.sleep(0.0)
    behind.says, behind.takes_s = DOWN, 0.0
    await broken(guard)
    await behind.clock.sleep(OPEN_S)
    behind.takes_s = 5.0
    trial = asyncio.create_task(ask(guard))
    assert await early == Applied()
    assert guard.status().breaker is BreakerState.HALF_OPEN, "it waits for the trial"
    assert await trial == DOWN
    assert guard.status().breaker is BreakerState.OPEN


@on_virtual_time
async def test_a_confirm_comes_back_the_later_the_longer_the_outage_lasts(behind: Behind) -> None:
    guard = behind.guarded()
    await broken(guard)
    waits = []
    for _ in range(20):
        waits.append(held_back_s(await ask(guard, Operation.CONFIRM)))
        assert held_back_s(await ask(guard, Operation.TRY)) <= OPEN_S, "a Try has no such time"
        await behind.clock.sleep(OPEN_S)
        await ask(guard, Operation.CONFIRM)  # the trial, which fails
    assert waits[0] == OPEN_S
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_HOLD_BACK_S


@on_virtual_time
async def test_a_timeout_of_a_hurried_call_says_nothing(behind: Behind) -> None:
    guard = behind.guarded()
    behind.says = LATE
    for _ in range(3 * FAILURES):
        await ask(guard, timeout_s=0.1)
    assert guard.status().breaker is BreakerState.CLOSED
    for _ in range(FAILURES):
        await ask(guard, timeout_s=2.0)
    assert guard.status().breaker is BreakerState.OPEN


@on_virtual_time
async def test_without_failures_to_count_there_is_no_breaker(behind: Behind) -> None:
    guard = behind.guarded(breaker_failures=0)
    await broken(guard, 50)
    assert len(behind.arrived) == 50
    assert behind.observer.breakers == []
    assert guard.status().failures == 50


@on_virtual_time
async def test_no_more_than_the_bound_are_under_way(behind: Behind) -> None:
    guard = behind.guarded(max_in_flight=2)
    behind.says, behind.takes_s = Applied(), 0.5
    asking = [asyncio.create_task(ask(guard)) for _ in range(4)]
    await behind.clock.sleep(0.1)
    assert len(behind.arrived) == 2
    status = guard.status()
    assert (status.in_flight, status.waiting, status.max_in_flight) == (2, 2, 2)
    assert await asyncio.gather(*asking) == [Applied()] * 4
    assert [round(each.timeout_s, 3) for each in behind.arrived] == [2.0, 2.0, 1.5, 1.5]
    assert (guard.status().in_flight, guard.status().waiting) == (0, 0)


@on_virtual_time
async def test_who_finds_no_place_in_time_was_never_sent(behind: Behind) -> None:
    guard = behind.guarded(max_in_flight=1)
    behind.says, behind.takes_s = Applied(), 30.0
    first = asyncio.create_task(ask(guard, timeout_s=60.0))
    await behind.clock.sleep(0.0)
    started = behind.clock.now()
    assert held_back_s(await ask(guard), "PARTICIPANT_BUSY") == BUSY_RETRY_S
    assert (behind.clock.now() - started).total_seconds() <= 2.0
    assert len(behind.arrived) == 1
    assert await first == Applied()


@on_virtual_time
async def test_whoever_is_abandoned_gives_the_place_back(behind: Behind) -> None:
    guard = behind.guarded(max_in_flight=1)
    behind.says, behind.takes_s = Applied(), 1.0
    for cancelled in (0, 1):  # the one under way, then the one that waits
        asking = [asyncio.create_task(ask(guard, timeout_s=10.0)) for _ in range(3)]
        await behind.clock.sleep(0.5)
        asking[cancelled].cancel()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert answers.count(Applied()) == 2
        assert (guard.status().in_flight, guard.status().waiting) == (0, 0)
    assert await ask(guard) == Applied()


@on_virtual_time
async def test_who_waited_while_it_opened_is_not_sent(behind: Behind) -> None:
    guard = behind.guarded(max_in_flight=1, breaker_failures=1)
    behind.takes_s = 0.5
    first, second = await asyncio.gather(ask(guard), ask(guard))
    assert first == DOWN
    assert held_back_s(second) == OPEN_S
    assert len(behind.arrived) == 1


@on_virtual_time
async def test_an_adapter_that_raises_gives_its_place_back_and_says_nothing(behind: Behind) -> None:
    guard = behind.guarded(max_in_flight=1)
    behind.says = RuntimeError("a bug")
    for _ in range(2 * FAILURES):
        with pytest.raises(RuntimeError, match="a bug"):
            await ask(guard)
    assert guard.status().breaker is BreakerState.CLOSED
    assert guard.status().in_flight == 0


@on_virtual_time
async def test_its_status_tells_since_when_and_until_when(behind: Behind) -> None:
    guard = behind.guarded()
    await behind.clock.sleep(7.0)
    opened_at = behind.clock.now()
    await broken(guard)
    await behind.clock.sleep(2.0)
    status = guard.status()
    assert (status.name, status.breaker, status.since) == ("points", BreakerState.OPEN, opened_at)
    assert (status.failures, status.last_failure) == (FAILURES, "UNAVAILABLE")
    assert status.retry_after_s == pytest.approx(3.0)
