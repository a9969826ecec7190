"""What must hold of a transaction at rest: one checker a rule, each raising Violation.

They read the store and the model participants, and know nothing of how the result came about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from coordinator.domain.entries import Act
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import ANNOUNCED, CANCELLABLE, TABLE, State
from coordinator.domain.phase import Operation, Phase, Role
from coordinator.domain.transaction import (
    EntryKind,
    JournalEntry,
    OutboxEvent,
    Step,
    StepStatus,
    Transaction,
)
from coordinator.engine.capture import NewCapture
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
    refunds: Sequence[Transaction] = ()

    @property
    def called(self) -> list[Phase]:
        """The phases that call a participant; a refund lacks the tenders that get nothing."""
        phases = {step.phase for step in self.transaction.steps}
        return [phase for phase in self.flow.called if phase.name in phases]

    def confirmed_minor(self, phase: str) -> int:
        """How much became final at the phase's participant."""
        participant = self.participants[self.flow.by_name[phase].participant]
        return participant.confirmed.get((self.transaction.id, phase), 0)

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
    paid = scene.transaction.state in {State.PAID, State.REFUNDED}
    for phase in scene.called:
        record = scene.record(phase.name)
        final = paid and not scene.transaction.step(phase.name).dropped
        wanted = {Held.CONFIRMED} if final else {Held.CANCELLED, Held.REFUSED, None}
        _require(record in wanted, "S1", f"{phase.name} is {record} at {scene.transaction.state}")


def at_most_one_effect(scene: Scene) -> None:
    """S2: at most one effect per (transaction, phase, operation)."""
    for phase in scene.called:
        for operation in Operation:
            count = scene.effects(phase.name, operation)
            _require(count <= 1, "S2", f"{phase.name} {operation} took effect {count} times")


def never_confirmed_and_cancelled(scene: Scene) -> None:
    """S4: no participant has both a confirm and a cancel effect."""
    for phase in scene.called:
        both = scene.effects(phase.name, Operation.CONFIRM) and scene.effects(
            phase.name, Operation.CANCEL
        )
        _require(not both, "S4", f"{phase.name} was confirmed and cancelled")


def decisions_before_acts(scene: Scene) -> None:
    """S3, S5: no Confirm before CAPTURING, no Cancel before CANCELLING; the pivot first, alone.

    An operator's answer that the pivot was not captured has it cancelled first.
    """
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
            dropped = scene.transaction.step(entry.phase).dropped
            allowed = {State.CANCELLING, State.SETTLING} if dropped else {State.CANCELLING}
            ordered = entry.phase == pivot and _ordered_by_operator(scene, entry)
            _require(entry.from_state in allowed or ordered, "S5", f"cancel of {entry.phase}")


def _ordered_by_operator(scene: Scene, cancel: JournalEntry) -> bool:
    """Whether a Cancel left because an operator says that the pivot was not captured.

    Once it was done, that is written down in the same commit, and the payment is released for it.
    """
    return cancel.from_state is State.CAPTURING and (
        cancel.outcome != "applied"
        or any(
            line.event == Act.RESOLVE and line.phase == cancel.phase
            for line in scene.journal
            if line.sequence > cancel.sequence
        )
    )


_OURS = frozenset(
    {
        "CANCELLED_BY_CALLER",
        "ORDER_SUPERSEDED",
        "TRY_DEADLINE_EXCEEDED",
        "RESERVATION_EXPIRED",
    }
)
"""Causes that count until it is decided."""


def releases_cite_a_cause(scene: Scene) -> None:
    """S6: every release cites a refusal that was answered, a caller, or a deadline.

    Neither callers nor deadlines release what is decided.
    """
    for entry in scene.journal:
        if entry.event != "release":
            continue
        answered = any(
            line.outcome == "refused" and line.code == entry.code and line.phase == entry.phase
            for line in scene.journal
        )
        ours = entry.code in _OURS or entry.code == "CANCELLED_BY_OPERATOR"
        _require(answered or ours, "S6", f"released for {entry.code or 'nothing'}")
        late = entry.code in _OURS and entry.from_state not in CANCELLABLE
        _require(not late, "S6", f"released for {entry.code} while {entry.from_state}")


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
    """S14: one event for each settled state that was reached, and none for any other."""
    state = scene.transaction.state
    wanted = [state] if state in ANNOUNCED else []
    if state is State.REFUNDED:
        wanted = [State.PAID, State.REFUNDED]
    events = [event for event in scene.events if event.attention is None]
    states = [event.state for event in events]
    _require(states == wanted, "S14", f"announced {states}")
    lines = {entry.sequence: entry.to_state for entry in scene.journal}
    for event in events:
        _require(
            lines[event.sequence] is event.state,
            "S14",
            f"{event.state} was announced as line {event.sequence}: {lines[event.sequence]}",
        )


def held_is_left_alone(scene: Scene) -> None:
    """Hold: while an operator holds it, nobody asks for more and nothing ends.

    What an operator resolves meanwhile is asked for with Query and Cancel.
    """
    held = False
    for entry in scene.journal:
        if entry.kind is EntryKind.OPERATOR and entry.event in {Act.HOLD, Act.UNHOLD}:
            held = entry.event == Act.HOLD
        asked = entry.operation in {Operation.TRY, Operation.CONFIRM}
        driven = asked or entry.event in {"pay", "fail"}
        _require(not (held and driven), "hold", f"line {entry.sequence} came while it was held")


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
    for phase in scene.called:
        status, record = scene.transaction.step(phase.name).status, scene.record(phase.name)
        _require(
            record in truth.get(status, set()), "steps", f"{phase.name}: {status} but {record}"
        )


def amounts_agree(scene: Scene) -> None:
    """S1: what became final is what was decided, and what was taken is what was given."""
    taken = given = 0
    for step in scene.transaction.steps:
        confirmed = 0 if step.role is Role.ANNOUNCES else scene.confirmed_minor(step.phase)
        decided = 0 if scene.transaction.state is State.FAILED else step.final_minor or 0
        _require(confirmed == decided, "S1", f"{step.phase}: {confirmed} final, {decided} decided")
        taken += confirmed if step.role is Role.TAKES else 0
        given += confirmed if step.role is Role.GIVES else 0
    _require(taken == given, "S1", f"{taken} taken and {given} given")


def refunds_never_exceed(scene: Scene) -> None:
    """S13: never more than was paid, in all and per tender; the payment says how much it was."""
    payment = scene.transaction
    done = [refund for refund in scene.refunds if refund.state is State.PAID]
    ordinals = [refund.refund_of.ordinal for refund in scene.refunds if refund.refund_of]
    _require(ordinals == list(range(1, len(ordinals) + 1)), "S13", f"ordinals {ordinals}")
    total = sum(refund.amount.minor for refund in done)
    _require(total <= payment.captured_minor, "S13", f"{total} of {payment.captured_minor}")
    _require(payment.refunded_minor == total, "S13", f"{payment.refunded_minor} noted of {total}")
    is_all = total == payment.captured_minor > 0
    _require((payment.state is State.REFUNDED) == is_all, "S13", f"{payment.state} after {total}")
    for step in payment.steps:
        if step.role is Role.TAKES:
            shares = [each.amount for refund in done for each in _of(refund, step.phase)]
            given = sum(share.minor for share in shares if share is not None)
            _require(given <= (step.final_minor or 0), "S13", f"{step.phase} got {given}")


def _of(refund: Transaction, phase: str) -> list[Step]:
    return [step for step in refund.steps if step.phase == phase]


def captured_as_asked(new: NewCapture, told: Transaction) -> None:
    """S12: who is told that a capture is done has asked for that very capture."""
    key = told.capture.idempotency_key if told.capture else "no key"
    wanted = new.idempotency_key
    _require(key == wanted, "S12", f"{wanted} was told that it captured, and {key} did; {told.id}")


def nobody_else_is_held(
    participants: Mapping[str, ModelParticipant], known: Collection[TransactionId]
) -> None:
    """S8: nothing is held, and nothing was taken, for a transaction that nobody knows."""
    for participant in participants.values():
        for (transaction_id, phase), record in participant.records.items():
            kept = record in {Held.HELD, Held.PENDING, Held.CONFIRMED}
            stray = kept and transaction_id not in known
            _require(not stray, "S8", f"{phase} is {record} for {transaction_id}, and nobody knows")


CHECKERS: tuple[Callable[[Scene], None], ...] = (
    settled,
    all_or_nothing,
    at_most_one_effect,
    never_confirmed_and_cancelled,
    decisions_before_acts,
    releases_cite_a_cause,
    journal_is_a_path,
    announced_once,
    held_is_left_alone,
    secrets_forgotten,
    steps_tell_the_truth,
    amounts_agree,
    refunds_never_exceed,
)


def check(scene: Scene) -> None:
    """Runs every checker. Raises Violation for the first that fails."""
    for checker in CHECKERS:
        checker(scene)
