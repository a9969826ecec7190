"""A participant in memory: the fence's rules, a count of every effect, and faults on demand.

It is the reference that the simulator compares with: what it holds and moved is known exactly.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import (
    CANCELLED_AT_PARTICIPANT,
    UNKNOWN_TRANSACTION,
    Applied,
    Outcome,
    Pending,
    Refused,
    Unknown,
)
from coordinator.domain.phase import Operation
from coordinator.ports import Clock
from fault_injection.lives import outside


class Held(StrEnum):
    """What the participant knows of one (transaction, phase)."""

    HELD = "HELD"
    PENDING = "PENDING"
    REFUSED = "REFUSED"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class LoseRequest:
    """The request never arrives; the caller times out."""


@dataclass(frozen=True, slots=True)
class LoseReply:
    """The effect is done, the reply is lost; the caller times out."""


@dataclass(frozen=True, slots=True)
class Late:
    """The caller times out; the request arrives `delay_s` seconds after it was sent."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """A definite business no."""

    code: str = "REFUSED_BY_TEST"


@dataclass(frozen=True, slots=True)
class Defer:
    """A Try answers Pending; it is decided (held) `after_s` seconds later."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Twice:
    """The request arrives and is answered, and arrives once more `after_s` seconds later."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The caller times out. The request arrives just after the next one about the same step.

    Or after `at_most_s` seconds, if there is none.
    """

    at_most_s: float


_TAKING = {Held.HELD, Held.PENDING, Held.CONFIRMED}
"""A refund's Try in one of these counts against what it gives back."""

Fault: TypeAlias = LoseRequest | LoseReply | Late | Refuse | Defer | Twice | Overtaken
Script: TypeAlias = Callable[[TransactionId, Call, int], Fault | None]
"""Which fault befalls the n-th (1, 2, …) call of an operation, if any."""


def no_faults(_transaction_id: TransactionId, _call: Call, _attempt: int) -> Fault | None:
    """The script in which nothing goes wrong."""
    return None


Key: TypeAlias = tuple[TransactionId, str]


@dataclass
class ModelParticipant:
    """See the head of this module.

    effects    counts what took place, by (transaction, phase, operation)
    amounts    of every Try, in minor units
    confirmed  how much of it became final
    last_arrival_s  when the last late request arrived, or the last pending Try was decided
    originals  of a refund's Try: which step it gives back
    """

    clock: Clock
    script: Script = no_faults
    records: dict[Key, Held] = field(default_factory=dict)
    amounts: dict[Key, int] = field(default_factory=dict)
    confirmed: dict[Key, int] = field(default_factory=dict)
    originals: dict[Key, Key] = field(default_factory=dict)
    effects: Counter[tuple[TransactionId, str, Operation]] = field(default_factory=Counter)
    calls: list[tuple[TransactionId, str, Operation]] = field(default_factory=list)
    refused_confirms: dict[Key, Refused] = field(default_factory=dict)
    _attempts: Counter[tuple[TransactionId, str, Operation]] = field(default_factory=Counter)
    _held_up: dict[Key, list[Call]] = field(default_factory=dict)
    last_arrival_s: float = 0.0
    _deliveries: set[asyncio.Task[None]] = field(default_factory=set)

    async def perform(
        self, transaction_id: TransactionId, call: Call, _hold_until: datetime
    ) -> Outcome:
        """Makes the call, with the fault that the script says."""
        seen = (transaction_id, call.phase.name, call.operation)
        self.calls.append(seen)
        self._attempts[seen] += 1
        fault = self.script(transaction_id, call, self._attempts[seen])
        match fault:
            case LoseRequest():
                return await self._time_out(call)
            case LoseReply():
                self._arrive(transaction_id, call, None)
                return await self._time_out(call)
            case Late(delay_s):
                self._deliver(transaction_id, call, delay_s)
                return await self._time_out(call)
            case Twice(after_s):
                self._deliver(transaction_id, call, after_s)
            case Overtaken(at_most_s):
                self._hold_up(transaction_id, call, at_most_s)
                return await self._time_out(call)
        return self._arrive(transaction_id, call, fault)

    async def settled(self) -> None:
        """Returns once every late delivery has arrived."""
        while self._deliveries:
            await asyncio.gather(*self._deliveries)

    async def _time_out(self, call: Call) -> Outcome:
        await self.clock.sleep(call.timeout_s)
        return Unknown("DEADLINE_EXCEEDED")

    def _deliver(self, transaction_id: TransactionId, call: Call, delay_s: float) -> None:
        self._later(delay_s, lambda: self._arrive(transaction_id, call, None))

    def _hold_up(self, transaction_id: TransactionId, call: Call, at_most_s: float) -> None:
        key = (transaction_id, call.phase.name)
        held_up = self._held_up.setdefault(key, [])
        held_up.append(call)

        def arrive() -> None:
            if call in held_up:
                held_up.remove(call)
                self._arrive(transaction_id, call, None)

        self._later(at_most_s, arrive)

    def _later(self, delay_s: float, deed: Callable[[], object]) -> None:
        async def later() -> None:
            await self.clock.sleep(delay_s)
            deed()
            self.last_arrival_s = self.clock.monotonic()

        nobodys = outside()
        task = asyncio.create_task(later(), context=nobodys)
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard, context=nobodys)

    def _arrive(self, transaction_id: TransactionId, call: Call, fault: Fault | None) -> Outcome:
        """The request is here, and after it those that it has overtaken."""
        outcome = self._apply(transaction_id, call, fault)
        held_up = self._held_up.get((transaction_id, call.phase.name), [])
        while held_up:
            self._apply(transaction_id, held_up.pop(0), None)
        return outcome

    def _apply(self, transaction_id: TransactionId, call: Call, fault: Fault | None) -> Outcome:
        key = (transaction_id, call.phase.name)
        match call.operation:
            case Operation.TRY:
                return self._try(key, call, fault)
            case Operation.CONFIRM:
                return self._confirm(key, call, fault)
            case Operation.CANCEL:
                return self._cancel(key)
            case Operation.QUERY:
                return self._query(key)

    def _try(self, key: Key, call: Call, fault: Fault | None) -> Outcome:
        if key not in self.records:
            assert call.step.amount is not None, "a Try always moves money"
            assert bool(call.step.source) != bool(call.refund_of), "a source, or what is given back"
            self.amounts[key] = call.step.amount.minor
            if call.refund_of is not None:
                self.originals[key] = (call.refund_of, call.phase.name)
            if isinstance(fault, Refuse) or self._is_too_much(key):
                self.records[key] = Held.REFUSED
            elif isinstance(fault, Defer):
                self.records[key] = Held.PENDING
                self._later(fault.after_s, lambda: self.decide_pending(key))
            else:
                self.records[key] = Held.HELD
                self.effects[*key, Operation.TRY] += 1
        return self._try_answer(key)

    def _is_too_much(self, key: Key) -> bool:
        """Whether a refund's Try is for more than is left of what it gives back."""
        original = self.originals.get(key)
        if original is None:
            return False
        taken = sum(
            self.amounts[other]
            for other, of in self.originals.items()
            if of == original and self.records.get(other) in _TAKING
        )
        return taken + self.amounts[key] > self.confirmed.get(original, 0)

    def _try_answer(self, key: Key) -> Outcome:
        match self.records[key]:
            case Held.HELD | Held.CONFIRMED:
                return Applied()
            case Held.PENDING:
                return Pending()
            case Held.REFUSED:
                return Refused("REFUSED_BY_TEST", "the test wants it so")
            case Held.CANCELLED:
                return Refused(CANCELLED_AT_PARTICIPANT, "a Cancel came first")

    def _confirm(self, key: Key, call: Call, fault: Fault | None) -> Outcome:
        record = self.records.get(key)
        if key in self.refused_confirms:
            return self.refused_confirms[key]
        if record is Held.HELD:
            if isinstance(fault, Refuse):
                self.refused_confirms[key] = Refused(fault.code, "the test wants it so")
                return self.refused_confirms[key]
            final = call.step.final
            assert final is not None, "a Confirm always moves money"
            if not 0 < final.minor <= self.amounts[key]:
                return Unknown("INVALID_ARGUMENT", "nothing, or more than is held", suspicious=True)
            self.confirmed[key] = final.minor
            self.records[key] = Held.CONFIRMED
            self.effects[*key, Operation.CONFIRM] += 1
        elif record is not Held.CONFIRMED:
            return Unknown("FAILED_PRECONDITION", f"confirm while {record}", suspicious=True)
        return Applied()

    def _cancel(self, key: Key) -> Outcome:
        record = self.records.get(key)
        if record is Held.CONFIRMED:
            return Unknown("FAILED_PRECONDITION", "cancel after confirm", suspicious=True)
        if record in {Held.HELD, Held.PENDING}:
            self.effects[*key, Operation.CANCEL] += 1
        self.records[key] = Held.CANCELLED
        return Applied()

    def _query(self, key: Key) -> Outcome:
        if key not in self.records:
            return Unknown(UNKNOWN_TRANSACTION)
        if self.records[key] is Held.CONFIRMED:
            return Applied(confirmed=True)
        if key in self.refused_confirms and self.records[key] is Held.HELD:
            return self.refused_confirms[key]
        return self._try_answer(key)

    def decide_pending(self, key: Key) -> None:
        """The customer did what was asked: a pending Try becomes held."""
        if self.records.get(key) is Held.PENDING:
            self.records[key] = Held.HELD
            self.effects[*key, Operation.TRY] += 1
