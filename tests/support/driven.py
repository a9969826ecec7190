"""A tiny synchronous driver for the domain, in virtual time, that checks every rule as it goes.

It does what the engine does (decide, act, record, commit) with the same durability: what a round of
calls brought is lost in a crash unless it was committed. What the participants say comes from a
`World`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from coordinator.domain.decide import Advance, Call, Perform, Rest, Wait, decide, may_cancel
from coordinator.domain.flow import Flow
from coordinator.domain.machine import INITIAL, TABLE, Event, State
from coordinator.domain.moves import advance, record
from coordinator.domain.outcome import Applied, Outcome, Pending, Refused
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.transaction import (
    Change,
    Draft,
    EntryKind,
    Failure,
    JournalEntry,
    OutboxEvent,
    Result,
    StepStatus,
    Transaction,
    as_recovered,
)
from tests.support.domain import NOW, SOURCES, opened

ROWS = {(row.source.value, row.event.value, row.target.value) for row in TABLE}
MAX_ROUNDS = 500
"""Far more than any healed run needs: a run that gets this far is not going to end."""


class World(Protocol):
    """The participants and the trouble on the way to them."""

    def answer(self, call: Call) -> Outcome:
        """What one call brings."""

    def crashes(self) -> bool:
        """Whether the process dies here, before it commits."""

    def cancels(self) -> bool:
        """Whether the caller cancels here."""

    def draw(self) -> float:
        """Jitter, 0..1."""

    def oversleeps_s(self) -> float:
        """How much later than it had to somebody looks again, in seconds."""


@dataclass
class Run:
    """One payment, driven until it rests. Every check is an assertion."""

    flow: Flow
    world: World
    now: datetime = NOW
    durable: Transaction | None = None
    journal: list[JournalEntry] = field(default_factory=list)
    events: list[OutboxEvent] = field(default_factory=list)
    sent: list[tuple[State, Call]] = field(default_factory=list)
    refusals: set[tuple[str, str]] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)

    def drive(self) -> Transaction:
        """Runs to the end; returns the transaction as it durably stands."""
        self.commit(opened(self.flow), self.now)
        draft = Draft(self.settled_so_far())
        for _ in range(MAX_ROUNDS):
            if self.world.crashes():
                draft = Draft(as_recovered(self.settled_so_far()))
            if self.world.cancels():
                draft = self.cancelled(draft)
            action = decide(draft.transaction, self.flow, self.now)
            match action:
                case Perform(calls):
                    draft = self.perform(draft, calls)
                case Advance(events, failure):
                    self.check_release(draft.transaction, events, failure)
                    draft = advance(draft, self.flow, events, self.now, failure)
                    draft = self.commit(draft, self.now)
                case Wait(until):
                    assert until > self.now, "a wait that does not wait would loop hot"
                    draft = self.commit(draft, until)
                    self.now = until + timedelta(seconds=self.world.oversleeps_s())
                case Rest():
                    return self.at_rest(draft)
        raise AssertionError(f"not settled after {MAX_ROUNDS} rounds: {draft.transaction}")

    def settled_so_far(self) -> Transaction:
        """The row."""
        assert self.durable is not None
        return self.durable

    def perform(self, draft: Draft, calls: tuple[Call, ...]) -> Draft:
        """Makes the calls and records them."""
        assert calls
        for call in calls:
            self.check_call(call, len(calls))
        results = []
        for call in calls:
            outcome = self.world.answer(call)
            self.remember(call, outcome)
            results.append(Result(call.phase.name, call.operation, outcome, self.world.draw()))
        after = record(draft, self.flow, results, self.now)
        for call, result in zip(calls, results, strict=True):
            answered = isinstance(result.outcome, Applied | Refused | Pending)
            if call.phase.secret_source and answered:
                assert after.transaction.step(call.phase.name).source == "", "secret kept"
        return after

    def remember(self, call: Call, outcome: Outcome) -> None:
        """What definite answers came, whether or not they survive a crash."""
        if isinstance(outcome, Refused):
            self.refusals.add((outcome.code, call.phase.name))
        if isinstance(outcome, Applied) and call.operation is Operation.CONFIRM:
            self.confirmed.add(call.phase.name)

    def cancelled(self, draft: Draft) -> Draft:
        """The caller's cancel, by another process that only knows the row."""
        found = as_recovered(self.settled_so_far())
        if not may_cancel(found):
            return draft
        failure = Failure("CANCELLED_BY_CALLER", "The caller cancelled.")
        return self.commit(
            advance(Draft(found), self.flow, [Event.RELEASE], self.now, failure), self.now
        )

    def commit(self, draft: Draft, due_at: datetime) -> Draft:
        """Makes the draft durable, and checks what was written."""
        after = draft.transaction
        due = None if after.settled else due_at
        change = draft.change(now=self.now, due_at=due, keep_claim=True)
        self.check_change(change)
        self.durable = change.after
        self.journal += change.entries
        self.events += change.events
        return Draft(change.after)

    # --- the rules ---------------------------------------------------------------------------

    def check_call(self, call: Call, together: int) -> None:
        """S3, S4, S5: what may leave while what is durable."""
        state = self.settled_so_far().state
        self.sent.append((state, call))
        assert call.timeout_s > 0
        pivot = self.flow.pivot
        match call.operation:
            case Operation.QUERY if state is State.CAPTURING:
                assert call.phase is pivot, "only a pivot is asked after the decision"
            case Operation.TRY | Operation.QUERY:
                assert state is State.CREATED
                source = SOURCES.get(call.phase.name, "merchant-1")
                tried = call.operation is Operation.TRY
                assert not tried or call.step.source == source, "a Try without its source"
            case Operation.CONFIRM if call.phase is pivot:
                assert state is State.CAPTURING
                assert together == 1, "the pivot is confirmed alone"
            case Operation.CONFIRM:
                assert state is State.SETTLING
                assert pivot is None or pivot.name in self.confirmed, "the pivot comes first"
            case Operation.CANCEL:
                assert state is State.CANCELLING
                assert call.phase.name not in self.confirmed, "confirmed and cancelled"

    def check_release(
        self, before: Transaction, events: tuple[Event, ...], failure: Failure | None
    ) -> None:
        """S5, S6: a release cites a definite refusal or a deadline, and nothing was confirmed."""
        if Event.RELEASE not in events:
            assert failure is None
            return
        assert events == (Event.RELEASE,)
        assert failure is not None
        assert failure.code
        assert failure.reason
        assert not self.confirmed
        match failure.code:
            case "TRY_DEADLINE_EXCEEDED":
                assert before.state is State.CREATED
                assert self.now >= before.try_deadline
            case "RESERVATION_EXPIRED":
                assert before.state in {State.CREATED, State.RESERVED}
                assert self.now >= before.reserved_until
            case code:
                assert (code, failure.phase) in self.refusals
                assert before.step(failure.phase).status is StepStatus.REFUSED
        if before.state is State.CAPTURING:
            assert self.flow.pivot is not None
            assert failure.phase == self.flow.pivot.name
            confirms = {c.phase.name for _, c in self.sent if c.operation is Operation.CONFIRM}
            assert confirms == {failure.phase}, "another confirm had left"

    def check_change(self, change: Change) -> None:
        """S9, S10, S14: versions, the journal's path, the outbox."""
        before, after = self.durable, change.after
        assert change.expected_version == (before.version if before else 0)
        assert after.version == change.expected_version + 1
        assert before is None or not before.settled, "a settled row does not change"
        sequence = before.sequence if before else 0
        state = before.state if before else None
        for entry in change.entries:
            sequence += 1
            assert entry.sequence == sequence
            assert entry.from_state is state
            if entry.kind is EntryKind.ATTEMPT:
                assert entry.to_state is state
            elif state is None:
                assert (entry.event, entry.to_state) == ("create", INITIAL)
            else:
                assert (state.value, entry.event, entry.to_state.value) in ROWS
            state = entry.to_state
        assert (after.state, after.sequence) == (state, sequence)
        reached = {e.to_state for e in change.entries if e.kind is EntryKind.TRANSITION}
        settled = {event.state for event in change.events if event.attention is None}
        assert settled == reached & {State.PAID, State.FAILED}
        assert (after.failure is not None) == (after.state in {State.CANCELLING, State.FAILED})
        assert after.settled <= (after.attention is None)
        if after.state is not State.CREATED:
            assert all(not step.source for step in after.steps if step.secret), "secret kept"

    def at_rest(self, draft: Draft) -> Transaction:
        """What holds once nothing moves any more."""
        assert not draft.entries
        row = self.settled_so_far()
        assert draft.transaction == row
        assert row.due_at is None
        called = [row.step(phase.name).status for phase in self.flow.called]
        if row.state is State.PAID:
            assert set(called) == {StepStatus.CONFIRMED}
            assert self.confirmed == {phase.name for phase in self.flow.called}
        else:
            assert row.state is State.FAILED
            assert set(called) <= {StepStatus.CANCELLED, StepStatus.REFUSED}
            assert not self.confirmed
        assert [each.state for each in self.events if each.attention is None] == [row.state]
        assert len({event.id for event in self.events}) == len(self.events)
        assert decide(evolve(row), self.flow, self.now + timedelta(days=400)) == Rest()
        return row
