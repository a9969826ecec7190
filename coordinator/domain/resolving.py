"""What an operator's answer about a step in doubt is worth, once its participant was asked.

What the participant says wins where it contradicts. That the pivot was not captured is never taken
on anybody's word: its participant has to have done a Cancel first, whose fence then makes any late
Confirm impossible. So no answer can let a release and a confirm reach different participants.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from coordinator.domain.entries import Act
from coordinator.domain.machine import State
from coordinator.domain.operating import Mandate, noted
from coordinator.domain.outcome import (
    CANCELLED_AT_PARTICIPANT,
    UNKNOWN_TRANSACTION,
    Applied,
    Outcome,
    Pending,
    Refused,
)
from coordinator.domain.permitted import StepAnswer
from coordinator.domain.record import Record, evolve
from coordinator.domain.transaction import Draft, Step, StepStatus

ANSWER_MISMATCH = "ANSWER_MISMATCH"
"""The code of an answer that is about something else, such as another amount."""


class Said(StrEnum):
    """What a participant said when it was asked."""

    HELD = "held"
    CONFIRMED = "confirmed"
    PENDING = "pending"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    NOTHING = "nothing"
    """It knows of no such transaction."""
    OTHERWISE = "otherwise"
    """It answered for something else: another amount, another transaction."""
    UNKNOWN = "unknown"
    """It could not be asked, or gave no answer."""


def said(outcome: Outcome) -> Said:
    """The outcome of a Query in one word."""
    match outcome:
        case Applied():
            return Said.CONFIRMED if outcome.confirmed else Said.HELD
        case Pending():
            return Said.PENDING
        case Refused():
            cancelled = outcome.code == CANCELLED_AT_PARTICIPANT
            return Said.CANCELLED if cancelled else Said.REFUSED
    if outcome.code == UNKNOWN_TRANSACTION:
        return Said.NOTHING
    return Said.OTHERWISE if outcome.code == ANSWER_MISMATCH else Said.UNKNOWN


class Accept(Record, frozen=True):
    """The answer counts."""


class CancelFirst(Record, frozen=True):
    """It counts once the participant has done a Cancel."""


class Contradicted(Record, frozen=True):
    """It does not count; the sentence says what to do instead."""

    reason: str


class NeedsEvidence(Record, frozen=True):
    """It counts only with something that it rests on."""

    reason: str


Judgement: TypeAlias = Accept | CancelFirst | Contradicted | NeedsEvidence

_AS_CONFIRMED = {
    Said.HELD: "it is still held there: resume the transaction, and its Confirm is sent again",
    Said.PENDING: "it is not decided there yet: wait, or resume the transaction",
    Said.CANCELLED: "it was cancelled there, so that it is not final and never will be",
    Said.REFUSED: "it was refused there, so that it is not final",
    Said.NOTHING: "nothing is known of it there, so that it is not final",
    Said.OTHERWISE: "what is known of it there is something else, such as another amount",
}
_AS_CANCELLED = {
    Said.CONFIRMED: "it is final there: resume the transaction",
    Said.HELD: "it is still held there: resume the transaction, and its Cancel is sent again",
    Said.PENDING: "it is still open there: resume the transaction, and its Cancel is sent again",
    Said.NOTHING: "nothing is known of it there, and a late Try could still hold it: resume the "
    "transaction, and its Cancel is sent again",
    Said.OTHERWISE: "what is known of it there is something else, such as another amount",
}
_NOT_CAPTURED = {
    Said.CONFIRMED: "it was captured there: resume the transaction, or resolve it as confirmed",
    Said.OTHERWISE: _AS_CANCELLED[Said.OTHERWISE],
}


def judge(state: State, answer: StepAnswer, word: Said, mandate: Mandate) -> Judgement:
    """What `answer` about an open step is worth, when the participant said `word`."""
    if answer is StepAnswer.CONFIRMED:
        against, settles = _AS_CONFIRMED.get(word), word is Said.CONFIRMED
    elif state is State.CAPTURING:
        against = _NOT_CAPTURED.get(word)
        return CancelFirst() if against is None else Contradicted(against)
    else:
        against, settles = _AS_CANCELLED.get(word), word is Said.CANCELLED
    if against is not None:
        return Contradicted(against)
    if settles or mandate.evidence.strip():
        return Accept()
    return NeedsEvidence(f"{_why_open(word)}, so that your answer needs evidence")


def _why_open(word: Said) -> str:
    if word is Said.REFUSED:
        return "the participant only says that it refused, which does not tell whether it holds it"
    return "the participant could not be asked"


def resolved(
    draft: Draft, step: Step, answer: StepAnswer, mandate: Mandate, now: datetime
) -> Draft:
    """The draft in which an answer that counts is written down, with the operator's line.

    A pivot that was not captured is refused: `decide` releases the payment for it.
    """
    draft = noted(draft, Act.RESOLVE, mandate, now, step.phase, code=answer.name)
    transaction = draft.transaction
    moved = evolve(step, next_attempt_at=None, last_error="", next_action=None)
    if answer is StepAnswer.CONFIRMED:
        moved = evolve(moved, status=StepStatus.CONFIRMED)
    elif transaction.state is State.CAPTURING:
        moved = evolve(
            moved,
            status=StepStatus.REFUSED,
            refusal_code="CANCELLED_BY_OPERATOR",
            refusal_reason=mandate.reason,
        )
    else:
        moved = evolve(moved, status=StepStatus.CANCELLED)
    steps = tuple(moved if each.phase == step.phase else each for each in transaction.steps)
    return evolve(draft, transaction=evolve(transaction, steps=steps))
