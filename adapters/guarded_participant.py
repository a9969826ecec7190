"""Keeps one participant's trouble to itself: a bound of calls in flight and a circuit breaker.

A participant that hangs would otherwise hold thousands of calls open, and one that is down would be
asked by every payment that needs it, again and again. Here at most `max_in_flight` calls are under
way, and after some failures in a row nothing leaves until a trial call was answered.

What is held back never reached the adapter, and says so (`Unknown.retry_after_s`): the step stays
as it was, no attempt is counted, and it comes back when it is worth it. The whole call, waiting
included, keeps to `call.timeout_s`.

Only silence is a failure: a timeout, a lost connection, a server's error. An answer, whatever it
says, is none; whether it can be believed is the adapter's and the domain's to say.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from adapters.breaker import Breaker
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import (
    BREAKER_OPEN,
    PARTICIPANT_BUSY,
    UNKNOWN_TRANSACTION,
    Outcome,
    Unknown,
)
from coordinator.domain.phase import Operation
from coordinator.domain.record import Record, evolve
from coordinator.ports import BreakerState, Clock, Observer, Participant, ParticipantStatus

WAITING_SHARE = 0.5
"""How much of its time a call may wait for a place; the rest is for the participant."""
BUSY_RETRY_S = 0.5
"""How soon a call that found no place comes back, in seconds. It then waits for a place again, and
does not have to go to the table for so short a time."""
LONGEST_HOLD_BACK_S = 20.0
"""A Confirm or Cancel comes back after half as long as the outage has lasted, but at most after
this, in seconds: a long outage costs each waiting payment one write in half a minute."""
FULL_TIME_SHARE = 0.5
"""A timeout says something about the participant when it had at least this share of its time."""
_OURS = frozenset({"ADAPTER_ERROR", "CHANNEL_CLOSED"})
"""Trouble on this side of the wire."""


class Guard(Record, frozen=True):
    """One participant's limits.

    max_in_flight     calls under way at once
    breaker_failures  failed calls in a row that open the breaker; 0: there is none
    breaker_open_s    how long it stays open before a trial call, in seconds
    """

    max_in_flight: int = 512
    breaker_failures: int = 10
    breaker_open_s: float = 5.0


class GuardedParticipant:
    """A `Participant` called `name` in front of another one. See the head of this module."""

    def __init__(
        self,
        name: str,
        participant: Participant,
        guard: Guard,
        *,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._name = name
        self._participant = participant
        self._guard = guard
        self._clock = clock
        self._observer = observer
        self._places = asyncio.Semaphore(guard.max_in_flight)
        self._in_flight = 0
        self._waiting = 0
        self._failures = 0
        self._last_failure = ""
        self._since = clock.now()
        self._breaker = Breaker(
            name,
            failures=guard.breaker_failures or 1,
            open_s=guard.breaker_open_s,
            clock=clock,
            changed=self._changed,
        )

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """See `Participant.perform`."""
        if held_back := self._held_back(call):
            return held_back
        if not self._places.locked():
            await self._places.acquire()  # at once
        else:
            left_s = await self._wait_for_place(call.timeout_s)
            if left_s is None:
                detail = f"{self._guard.max_in_flight} calls to {self._name} are under way"
                return Unknown(PARTICIPANT_BUSY, detail, retry_after_s=BUSY_RETRY_S)
            call = evolve(call, timeout_s=left_s)
        try:
            # It may have opened while the call waited.
            return self._held_back(call) or await self._send(transaction_id, call, hold_until)
        finally:
            self._places.release()

    def status(self) -> ParticipantStatus:
        """How this process gets on with the participant now."""
        return ParticipantStatus(
            name=self._name,
            breaker=self._breaker.state,
            since=self._since,
            in_flight=self._in_flight,
            waiting=self._waiting,
            max_in_flight=self._guard.max_in_flight,
            failures=self._failures,
            last_failure=self._last_failure,
            opens=self._breaker.opens,
            retry_after_s=self._breaker.open_left_s,
        )

    async def _send(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        epoch = self._breaker.leaves()
        self._in_flight += 1
        failed = None  # an abandoned call tells nothing
        try:
            outcome = await self._participant.perform(transaction_id, call, hold_until)
            failed = _failed(call, outcome)
            return outcome
        finally:
            self._in_flight -= 1
            if failed:
                assert isinstance(outcome, Unknown), "nothing else is a failure"
                self._failures, self._last_failure = self._failures + 1, outcome.code
            elif failed is not None:
                self._failures, self._last_failure = 0, ""
            if self._guard.breaker_failures:
                self._breaker.ended(epoch, failed=failed)

    async def _wait_for_place(self, timeout_s: float) -> float | None:
        """Takes a place; returns what is left of the call's time in seconds, None without one."""
        started = self._clock.monotonic()
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s * WAITING_SHARE):
                await self._places.acquire()
        except TimeoutError:
            return None
        finally:
            self._waiting -= 1
        return timeout_s - (self._clock.monotonic() - started)

    def _held_back(self, call: Call) -> Unknown | None:
        after_s = self._breaker.holds_back_s()
        if not after_s:
            return None
        decided = call.operation in {Operation.CONFIRM, Operation.CANCEL}
        if decided and self._breaker.state is BreakerState.OPEN:  # a Try has not so long to live
            after_s = max(after_s, min(LONGEST_HOLD_BACK_S, self._breaker.down_s / 2))
        detail = f"{self._name} did not answer {self._failures} times: {self._last_failure}"
        return Unknown(BREAKER_OPEN, detail, retry_after_s=after_s)

    def _changed(self, state: BreakerState) -> None:
        self._since = self._clock.now()
        self._observer.breaker_changed(self._name, state)


def _failed(call: Call, outcome: Outcome) -> bool | None:
    """Whether the participant failed; None when that cannot be said."""
    if not isinstance(outcome, Unknown):
        return False
    if outcome.suspicious or outcome.code == UNKNOWN_TRANSACTION:
        return False
    if outcome.code in _OURS or outcome.retry_after_s is not None:
        return None
    hurried = call.timeout_s < call.phase.retry.timeout_s * FULL_TIME_SHARE
    return None if hurried and outcome.code == "DEADLINE_EXCEEDED" else True
