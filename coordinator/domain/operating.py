"""What an operator's act makes of a transaction: the drafts, each with its journal line.

Pure, like `moves`. Whether an act is allowed was decided before.
"""

from __future__ import annotations

from datetime import datetime

from coordinator.domain.entries import Act, EntryKind, Hold, JournalEntry
from coordinator.domain.machine import SETTLED
from coordinator.domain.record import Record, evolve
from coordinator.domain.step import StepStatus
from coordinator.domain.transaction import Draft

_FINISHED = frozenset({StepStatus.CONFIRMED, StepStatus.CANCELLED, StepStatus.REFUSED})


class Mandate(Record, frozen=True):
    """Who acts, why, and on what evidence (for acts that need some)."""

    actor: str
    reason: str
    evidence: str = ""


def noted(
    draft: Draft, act: Act, mandate: Mandate, now: datetime, phase: str = "", *, code: str = ""
) -> Draft:
    """The draft with the journal line of this act, which by itself moves nothing."""
    before = draft.transaction
    entry = JournalEntry(
        before.id,
        before.sequence + 1,
        now,
        EntryKind.OPERATOR,
        before.state,
        before.state,
        event=act.value,
        phase=phase,
        code=code,
        detail=mandate.reason,
        actor=mandate.actor,
        evidence=mandate.evidence,
    )
    moved = evolve(before, sequence=before.sequence + 1)
    return Draft(moved, (*draft.entries, entry), draft.events, draft.stored)


def held(draft: Draft, mandate: Mandate, now: datetime) -> Draft:
    """The draft that nobody drives until it is unheld."""
    assert draft.transaction.state not in SETTLED, "only what is live can be held"
    draft = noted(draft, Act.HOLD, mandate, now)
    hold = Hold(mandate.actor, mandate.reason)
    return _with(draft, evolve(draft.transaction, hold=hold))


def unheld(draft: Draft, mandate: Mandate, now: datetime) -> Draft:
    """The draft that is driven again, all that is left to do at once."""
    draft = noted(draft, Act.UNHOLD, mandate, now)
    return _due_at_once(_with(draft, evolve(draft.transaction, hold=None)))


def resumed(draft: Draft, mandate: Mandate, now: datetime) -> Draft:
    """The draft whose unfinished steps are asked for at once; attempts are kept."""
    return _due_at_once(noted(draft, Act.RESUME, mandate, now))


def _due_at_once(draft: Draft) -> Draft:
    steps = tuple(
        step
        if step.next_attempt_at is None or step.status in _FINISHED
        else evolve(step, next_attempt_at=None)
        for step in draft.transaction.steps
    )
    return _with(draft, evolve(draft.transaction, steps=steps))


def _with(draft: Draft, transaction: object) -> Draft:
    return evolve(draft, transaction=transaction)
