"""What must hold of a transaction at rest: one checker a rule, each raising Violation.

They read the store and the model participants, and know nothing of how the result came about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coordinator.domain.flow import Flow
from coordinator.domain.machine import ANNOUNCED, TABLE, State
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import (
    EntryKind,
    JournalEntry,
    OutboxEvent,
    StepStatus,
    Transaction,
)
from fault_injection.model_participant import Held, ModelParticipant


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One settled transaction and everything that is known of it."""

    transaction: Transaction
    flow: Flow
    journal: Sequence[JournalEntry]
    events: Sequence[OutboxEvent]
    participants: dict[str, ModelParticipant]

    def record(self, phase: str) -> Held | None:
        """What the phase's participant knows of the transaction."""
        participant = self.participants[self.flow.by_name[phase].participant]
        return participant.records.get((self.transaction.id, phase))

    def effects(self, phase: str, operation: Operation) -> int:
        """How often the operation took effect there."""
        participant = self.participants[self.flow.by_name[phase].participant]
        return participant.effects[self.transaction.id, phase, operation]


def _require(condition: bool, rule: str, what: str) -> None:
    if not condition:
        raise Violation(f"{rule}: {what}")


def settled(scene: Scene) -> None:
    """L1: the transaction has ended."""
    _require(scene.transaction.settled, "L1", f"still {scene.transaction.state}")


def all_or_nothing(scene: Scene) -> None:
    """S1, S8: paid everywhere or undone everywhere; nothing is held at rest."""
    paid = scene.transaction.state is State.PAID
    for phase in scene.flow.called:
        record = scene.record(phase.name)
        wanted = {Held.CONFIRMED} if paid else {Held.CANCELLED, Held.REFUSED, None}
        _require(record in wanted, "S1", f"{phase.name} is {record} at {scene.transaction.state}")


def at_most_one_effect(scene: Scene) -> None:
    """S2: at most one effect per (transaction, phase, operation)."""
    for phase in scene.flow.called:
        for operation in Operation:
            count = scene.effects(phase.name, operation)
            _require(count <= 1, "S2", f"{phase.name} {operation} took effect {count} times")


def never_confirmed_and_cancelled(scene: Scene) -> None:
    """S4: no participant has both a confirm and a cancel effect."""
    for phase in scene.flow.called:
        both = scene.effects(phase.name, Operation.CONFIRM) and scene.effects(
            phase.name, Operation.CANCEL
        )
        _require(not both, "S4", f"{phase.name} was confirmed and cancelled")


def decisions_before_acts(scene: Scene) -> None:
    """S3, S5: no Confirm before CAPTURING, no Cancel before CANCELLING; the pivot first, alone."""
    pivot = scene.flow.pivot.name if scene.flow.pivot else None
    for entry in scene.journal:
        if entry.kind is not EntryKind.ATTEMPT:
            continue
        if entry.operation == Operation.CONFIRM:
            allowed = (
                {State.CAPTURING, State.SETTLING} if entry.phase == pivot else {State.SETTLING}
            )
            _require(entry.from_state in allowed, "S3", f"confirm of {entry.phase} too early")
        if entry.operation == Operation.CANCEL:
            _require(entry.from_state is State.CANCELLING, "S5", f"cancel of {entry.phase}")


def releases_cite_a_cause(scene: Scene) -> None:
    """S6: every release cites a refusal that was answered, a caller, or a deadline."""
    for entry in scene.journal:
        if entry.event != "release":
            continue
        answered = any(
            line.outcome == "refused" and line.code == entry.code and line.phase == entry.phase
            for line in scene.journal
        )
        ours = entry.code in {
            "CANCELLED_BY_CALLER",
            "ORDER_SUPERSEDED",
            "TRY_DEADLINE_EXCEEDED",
            "RESERVATION_EXPIRED",
        }
        _require(answered or ours, "S6", f"released for {entry.code or 'nothing'}")


def journal_is_a_path(scene: Scene) -> None:
    """S9, S10: the journal is contiguous, a path of the table, and ends in the row's state."""
    sequences = [entry.sequence for entry in scene.journal]
    _require(sequences == list(range(1, len(sequences) + 1)), "S10", f"sequences {sequences}")
    rows = {(row.source, row.event.value, row.target) for row in TABLE}
    state: State | None = None
    for entry in scene.journal:
        _require(entry.from_state == state, "S9", f"line {entry.sequence} starts elsewhere")
        if entry.kind is EntryKind.TRANSITION and state is not None:
            step = (entry.from_state, entry.event, entry.to_state)
            _require(step in rows, "S9", f"no row {step}")
        state = entry.to_state
    _require(state is scene.transaction.state, "S10", "the row is not where the journal ends")


def announced_once(scene: Scene) -> None:
    """S14: one event for the settled state, and none for any other."""
    wanted = [scene.transaction.state] if scene.transaction.state in ANNOUNCED else []
    states = [event.state for event in scene.events]
    _require(states == wanted, "S14", f"announced {states}")


def secrets_forgotten(scene: Scene) -> None:
    """S17: at rest no step remembers a secret source."""
    for step in scene.transaction.steps:
        _require(not (step.secret and step.source), "S17", f"{step.phase} remembers its source")


def steps_tell_the_truth(scene: Scene) -> None:
    """The record's steps say what the participants know."""
    truth: dict[StepStatus, set[Held | None]] = {
        StepStatus.CONFIRMED: {Held.CONFIRMED},
        StepStatus.CANCELLED: {Held.CANCELLED, None},
        StepStatus.REFUSED: {Held.REFUSED, Held.CANCELLED},
    }
    for phase in scene.flow.called:
        status, record = scene.transaction.step(phase.name).status, scene.record(phase.name)
        _require(
            record in truth.get(status, set()), "steps", f"{phase.name}: {status} but {record}"
        )


CHECKERS: tuple[Callable[[Scene], None], ...] = (
    settled,
    all_or_nothing,
    at_most_one_effect,
    never_confirmed_and_cancelled,
    decisions_before_acts,
    releases_cite_a_cause,
    journal_is_a_path,
    announced_once,
    secrets_forgotten,
    steps_tell_the_truth,
)


def check(scene: Scene) -> None:
    """Runs every checker. Raises Violation for the first that fails."""
    for checker in CHECKERS:
        checker(scene)
