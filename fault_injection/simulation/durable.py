"""What is durable, from what each COMMIT wrote: known without looking, at the moment it is so.

The checks of `watch` are made here, after every commit, every claim and every participant's effect.
What the database really holds is read, and checked again, when everything is at rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from adapters.postgres.fields import Write
from adapters.postgres.group_writer import WriteStatements
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import (
    Change,
    JournalEntry,
    OutboxEvent,
    Transaction,
    flow_of,
)
from fault_injection.invariants import Violation
from fault_injection.model_participant import Held, ModelParticipant
from fault_injection.simulation.watch import (
    COMMIT_CHECKERS,
    EFFECT_CHECKERS,
    Commit,
    Place,
    a_call_was_decided,
    an_event_was_written,
    it_ends_in_time,
    set_going_at,
)
from fault_injection.world import FLOWS


class Witness:
    """Writes groups as `inner` does, and remembers which writes of the group won.

    A `WriteStatements`. `won` is emptied by whoever begins a group.
    """

    def __init__(self, inner: WriteStatements, won: list[Write]) -> None:
        self._inner, self._won = inner, won

    def insert(self, connection: sa.Connection, writes: Sequence[Write]) -> set[str]:
        """See `WriteStatements.insert`."""
        return self._heard(writes, self._inner.insert(connection, writes))

    def update(self, connection: sa.Connection, writes: Sequence[Write]) -> set[str]:
        """See `WriteStatements.update`."""
        return self._heard(writes, self._inner.update(connection, writes))

    def hurry(self, connection: sa.Connection) -> None:
        """See `WriteStatements.hurry`."""
        self._inner.hurry(connection)

    def _heard(self, writes: Sequence[Write], won: set[str]) -> set[str]:
        self._won += [write for write in writes if write.after.id in won]
        return won


class Durable:
    """See the head of this module.

    broken  hears of whatever does not hold, as it happens
    told    raises Violation for a state that contradicts what was told of a transaction
    since_last_fault_s  how long nothing has gone wrong, but not since before a moment
    operators  whether operators act as well
    """

    def __init__(
        self,
        broken: Callable[[Violation], None],
        told: Callable[[TransactionId, State], None],
        since_last_fault_s: Callable[[datetime], float],
        *,
        operators: bool = False,
    ) -> None:
        self._operators = operators
        self._broken, self._told = broken, told
        self._since_last_fault_s = since_last_fault_s
        self._rows: dict[TransactionId, Transaction] = {}
        self._journals: dict[TransactionId, list[JournalEntry]] = {}
        self._reached: dict[TransactionId, set[State]] = {}
        self._events: dict[str, OutboxEvent] = {}
        self._announced: set[tuple[TransactionId, State]] = set()
        self._refunds: dict[TransactionId, list[TransactionId]] = {}
        self._waiting: dict[TransactionId, list[asyncio.Future[None]]] = {}
        self._cancelled: set[Place] = set()

    def row(self, transaction_id: TransactionId) -> Transaction:
        """As it stands."""
        return self._rows[transaction_id]

    async def change(self, transaction_id: TransactionId, seconds: float) -> None:
        """Returns when it has changed, or after so many seconds."""
        loop = asyncio.get_running_loop()
        changed: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(transaction_id, []).append(changed)
        timer = loop.call_later(seconds, _tell, changed)
        try:
            await changed
        finally:
            timer.cancel()

    def committed(self, writes: Sequence[Write]) -> None:
        """These are durable, from now on."""
        for write in writes:
            self._committed(write.change, write.with_holder())

    def claimed(self, transactions: Sequence[Transaction]) -> None:
        """These were claimed, each with a version of its own."""
        for transaction in transactions:
            known = self._rows.get(transaction.id)
            if known is None or known.version < transaction.version:
                self._rows[transaction.id] = transaction

    def leaves(self, transaction_id: TransactionId, call: Call) -> None:
        """A call is about to leave."""
        reached = self._reached.get(transaction_id, set())
        self._check(
            transaction_id, lambda: a_call_was_decided(call, reached, operators=self._operators)
        )

    def sent(self, event: OutboxEvent) -> None:
        """An event reaches the broker."""
        written = self._events.get(event.id)
        self._check(event.transaction_id, lambda: an_event_was_written(event, written))

    def arrived(self, at: ModelParticipant, place: Place, operation: Operation) -> None:
        """A request arrived at a participant, and has had its effect."""
        if operation is Operation.CANCEL and at.records.get(place) is Held.CANCELLED:
            self._cancelled.add(place)
        cancelled = place in self._cancelled
        for checker in EFFECT_CHECKERS:
            self._check(place[0], partial(checker, at, place, cancelled))

    def _committed(self, change: Change, after: Transaction) -> None:
        lines = self._journals.setdefault(after.id, [])
        before = self._rows.get(after.id)
        self._rows[after.id] = after
        commit = self._commit(change, before, tuple(lines))
        self._check(after.id, partial(self._told, after.id, after.state))
        for checker in COMMIT_CHECKERS:
            self._check(after.id, partial(checker, commit))
        seconds = self._since_last_fault_s(set_going_at(commit))
        self._check(after.id, partial(it_ends_in_time, commit, flow_of(FLOWS, after), seconds))
        lines += change.entries
        self._reached.setdefault(after.id, set()).update(line.to_state for line in change.entries)
        for event in change.events:
            self._events[event.id] = event
            if event.attention is None and not event.late_phase:
                self._announced.add((after.id, event.state))
        for waiting in self._waiting.pop(after.id, ()):
            _tell(waiting)

    def _commit(
        self, change: Change, before: Transaction | None, earlier: tuple[JournalEntry, ...]
    ) -> Commit:
        after = change.after
        payment_id = after.id
        if after.refund_of is not None:
            payment_id = after.refund_of.payment_id
            if before is None:
                self._refunds.setdefault(payment_id, []).append(after.id)
        pivot = flow_of(FLOWS, after).pivot
        return Commit(
            before=before,
            change=change,
            earlier=earlier,
            announced=self._announced,
            pivot=pivot.name if pivot else "",
            payment=self._rows.get(payment_id),
            refunds=tuple(self._rows[each] for each in self._refunds.get(payment_id, ())),
        )

    def _check(self, transaction_id: TransactionId, check: Callable[[], None]) -> None:
        try:
            check()
        except Violation as violation:
            self._broken(Violation(f"{violation}; {transaction_id}"))


def _tell(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
