"""A participant whose calls meet faults. The real one stays behind it, and stays right.

An injected refusal is made true first: the participant is sent a Cancel, whose tombstone keeps
whatever else is under way from taking hold. A participant that does not do it is asked as usual.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Applied, Outcome, Pending, Refused, Unknown
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.ports import Participant
from fault_injection.faults import kinds
from fault_injection.faults.injection import INJECTED, Injection
from fault_injection.faults.kinds import Area
from fault_injection.faults.rules import Rule

REFUSED_ON_PURPOSE = "REFUSED_ON_PURPOSE"
"""The code of an injected refusal."""
MAX_LATE = 10_000
"""So many requests may be under way late; more are lost."""


class FaultyParticipant:
    """A `Participant` called `name` in front of another one."""

    def __init__(self, name: str, participant: Participant, injection: Injection) -> None:
        self._name = name
        self._participant = participant
        self._injection = injection
        self._clock = injection.clock
        self._late: set[asyncio.Task[Outcome]] = set()
        self._pending: dict[tuple[TransactionId, str], float] = {}
        self._overtaken: dict[tuple[TransactionId, str], asyncio.Event] = {}

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """See `Participant.perform`."""
        rule = self._injection.strikes(
            Area.PARTICIPANTS,
            call.operation.value,
            (call.phase.name, self._name),
            transaction_id,
            unable=_unable(call),
        )
        began = self._clock.monotonic()
        match rule.kind.name if rule else "":
            case kinds.REQUEST_LOST | kinds.OUTAGE:
                return await self._time_out(call, began)
            case kinds.LATE | kinds.VERY_LATE | kinds.OVERTAKEN:
                self._send_later(rule, transaction_id, call, hold_until)
                return await self._time_out(call, began)
            case kinds.REFUSED:
                return await self._refuse(transaction_id, call, hold_until)
            case kinds.PENDING:
                assert rule is not None
                return await self._defer(rule, transaction_id, call, hold_until)
        outcome = await self._participant.perform(transaction_id, call, hold_until)
        if overtaken := self._overtaken.pop((transaction_id, call.phase.name), None):
            overtaken.set()
        match rule.kind.name if rule else "":
            case kinds.DELIVERED_TWICE:
                self._send_later(rule, transaction_id, call, hold_until)
            case kinds.REPLY_LOST:
                return await self._time_out(call, began)
            case kinds.SLOW:
                assert rule is not None
                return await self._answer_late(rule, call, began, outcome)
        return self._as_decided(transaction_id, call, outcome)

    async def _time_out(self, call: Call, began: float) -> Outcome:
        await self._clock.sleep(max(0.0, call.timeout_s - (self._clock.monotonic() - began)))
        return Unknown("DEADLINE_EXCEEDED", INJECTED)

    def _send_later(
        self, rule: Rule | None, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> None:
        """Sends it when its time is there, whoever still waits; beyond MAX_LATE it is lost."""
        assert rule is not None
        assert rule.duration_s is not None, "what is late has a delay"
        if len(self._late) >= MAX_LATE:
            return
        full = evolve(call, timeout_s=call.phase.retry.timeout_s)
        followed = asyncio.Event()
        if rule.kind.name == kinds.OVERTAKEN:
            self._overtaken[transaction_id, call.phase.name] = followed

        async def later(delay_s: float) -> Outcome:
            waits = [
                asyncio.ensure_future(each)
                for each in (self._clock.sleep(delay_s), followed.wait())
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
            return await self._participant.perform(transaction_id, full, hold_until)

        task = asyncio.create_task(later(rule.duration_s))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _refuse(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        began = self._clock.monotonic()
        undo = evolve(call, operation=Operation.CANCEL)
        undone = await self._participant.perform(transaction_id, undo, hold_until)
        if isinstance(undone, Applied):
            return Refused(REFUSED_ON_PURPOSE, f"{call.phase.title}: {INJECTED}")
        left_s = call.timeout_s - (self._clock.monotonic() - began)
        if left_s <= 0:
            return Unknown("DEADLINE_EXCEEDED", INJECTED)
        rest = evolve(call, timeout_s=left_s)
        return await self._participant.perform(transaction_id, rest, hold_until)

    async def _defer(
        self, rule: Rule, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """What the participant holds is told as pending for a while."""
        outcome = await self._participant.perform(transaction_id, call, hold_until)
        if not isinstance(outcome, Applied):
            return outcome
        assert rule.duration_s is not None, "what is pending is so for a while"
        now = self._clock.monotonic()
        self._pending = {key: until for key, until in self._pending.items() if until > now}
        self._pending[transaction_id, call.phase.name] = now + rule.duration_s
        return Pending(outcome.reference)

    def _as_decided(self, transaction_id: TransactionId, call: Call, outcome: Outcome) -> Outcome:
        """The answer, but for a hold that is not to be known yet."""
        until = self._pending.get((transaction_id, call.phase.name))
        asks = call.operation in {Operation.TRY, Operation.QUERY}
        if until is None or not asks or not isinstance(outcome, Applied) or outcome.confirmed:
            return outcome
        return Pending(outcome.reference) if self._clock.monotonic() < until else outcome

    async def _answer_late(self, rule: Rule, call: Call, began: float, outcome: Outcome) -> Outcome:
        assert rule.duration_s is not None, "what is slow has a delay"
        if self._clock.monotonic() - began + rule.duration_s >= call.timeout_s:
            return await self._time_out(call, began)
        await self._clock.sleep(rule.duration_s)
        return outcome


def _unable(call: Call) -> tuple[str, ...]:
    """A Confirm can be refused where a phase allows it, and nowhere else."""
    refuses = call.operation is not Operation.CONFIRM or call.phase.confirm_refusable
    return () if refuses else (kinds.REFUSED,)
