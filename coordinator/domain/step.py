"""One step of a transaction, and the pure functions that move it.

What an outcome does to a step depends on the transaction's state alone: a refusal is final before
the decision and at the pivot, and rests (`park_s`) everywhere else; Unknown is always asked again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from coordinator.domain.entries import Attention
from coordinator.domain.machine import ANNOUNCED, LIVE, State
from coordinator.domain.money import Money
from coordinator.domain.outcome import Applied, NextAction, Outcome, Pending, Refused, Unknown
from coordinator.domain.phase import Operation, Phase, Role
from coordinator.domain.record import Record, evolve


class StepStatus(StrEnum):
    """Where a step stands."""

    UNTRIED = "UNTRIED"
    """Nothing was asked of the participant."""
    TRYING = "TRYING"
    """A Try may have left; what became of it is not known."""
    PENDING = "PENDING"
    """The participant will decide later."""
    HELD = "HELD"
    """The participant holds its part."""
    REFUSED = "REFUSED"
    """The participant refused for good and holds nothing (for the pivot's Confirm: still holds)."""
    CONFIRMED = "CONFIRMED"
    """Final."""
    CANCELLED = "CANCELLED"
    """Undone, or never asked for."""


MAY_HOLD = frozenset({StepStatus.TRYING, StepStatus.PENDING, StepStatus.HELD})
"""A release has to cancel steps in these."""


class Step(Record, frozen=True):
    """One phase of one transaction.

    role             the phase's, kept with the step: flows and phases come and go
    source           the tender's source, or the merchant; empty for ANNOUNCES, and again once a
                     secret is no longer needed
    attempts         calls so far of the operation that the transaction's state asks for
    next_attempt_at  not before this time
    final_minor      how much of the amount is to become final, in minor units; None until that is
                     decided, 0 when all of it is to be released
    next_action      what the customer has to do, while it is pending
    """

    HIDDEN = frozenset({"source"})

    phase: str
    role: Role
    position: int
    status: StepStatus
    amount: Money | None
    source: str = ""
    secret: bool = False
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_error: str = ""
    refusal_code: str = ""
    refusal_reason: str = ""
    reference: str = ""
    final_minor: int | None = None
    next_action: NextAction | None = None

    @property
    def final(self) -> Money | None:
        """What is to become final, or all of the amount while that is not decided."""
        if self.amount is None or self.final_minor is None:
            return self.amount
        return Money.stored(self.final_minor, self.amount.currency)

    @property
    def dropped(self) -> bool:
        """Whether it was decided that nothing of it becomes final."""
        return self.final_minor == 0


class Result(Record, frozen=True):
    """What one call of one step came back with. `draw` (0..1) is the jitter of the next wait."""

    phase: str
    operation: Operation
    outcome: Outcome
    draw: float = 0.0


SPREAD = 0.5
"""Calls that were held back are repeated within this share more than the time they were told, so
that those who wait for one participant do not all come back to it at the same moment."""

_DONE = {
    Operation.TRY: StepStatus.HELD,
    Operation.QUERY: StepStatus.HELD,
    Operation.CONFIRM: StepStatus.CONFIRMED,
    Operation.CANCEL: StepStatus.CANCELLED,
}


def answered(state: State, step: Step, phase: Phase, result: Result, now: datetime) -> Step:
    """The step after a call of it came back while the transaction was in `state`."""
    outcome, operation = result.outcome, result.operation
    if isinstance(outcome, Unknown) and outcome.retry_after_s is not None:
        # Nothing was asked of the participant: it is no attempt, and an untried step stays one.
        wait_s = outcome.retry_after_s * (1.0 + SPREAD * result.draw)
        return evolve(
            step, next_attempt_at=now + timedelta(seconds=wait_s), last_error=outcome.code
        )
    attempts = step.attempts + 1
    forgotten = "" if step.secret else step.source
    if isinstance(outcome, Applied):
        return evolve(
            step,
            status=StepStatus.CONFIRMED if outcome.confirmed else _DONE[operation],
            source=forgotten,
            attempts=attempts,
            next_attempt_at=None,
            last_error="",
            reference=outcome.reference or step.reference,
            next_action=None,
        )
    if isinstance(outcome, Pending):
        return evolve(
            step,
            status=StepStatus.PENDING if state is State.CREATED else step.status,
            source=forgotten,
            attempts=attempts,
            next_attempt_at=now + timedelta(seconds=phase.next_poll_s(attempts)),
            last_error="",
            reference=outcome.reference or step.reference,
            next_action=outcome.next_action or step.next_action,
        )
    if isinstance(outcome, Refused):
        final = state is State.CREATED or (state is State.CAPTURING and phase.confirm_refusable)
        return evolve(
            step,
            status=StepStatus.REFUSED if final else step.status,
            source=forgotten,
            attempts=attempts,
            next_attempt_at=None if final else now + timedelta(seconds=phase.park_s),
            last_error=outcome.code,
            refusal_code=outcome.code,
            refusal_reason=outcome.reason,
            next_action=None,
        )
    return evolve(
        step,
        status=StepStatus.TRYING if step.status is StepStatus.UNTRIED else step.status,
        attempts=attempts,
        next_attempt_at=now + timedelta(seconds=phase.retry.delay_s(attempts, result.draw)),
        last_error=outcome.code,
    )


def credible(state: State, result: Result) -> Result:
    """The result itself, or Unknown where the transaction's state makes it absurd.

    While CREATED nobody has asked to confirm anything.
    """
    outcome = result.outcome
    if state is State.CREATED and isinstance(outcome, Applied) and outcome.confirmed:
        detail = f"{result.operation} found it confirmed, which nobody asked for"
        return evolve(result, outcome=Unknown("UNEXPECTED_STATUS", detail, suspicious=True))
    return result


def needs_attention(state: State, step: Step, phase: Phase, outcome: Outcome) -> Attention | None:
    """Why `outcome`, which left `step` as it is now, needs a person; None when it does not."""
    if isinstance(outcome, Unknown) and outcome.suspicious:
        return Attention(outcome.code, f"{phase.title}: {outcome.detail}")
    if isinstance(outcome, Refused) and step.status is not StepStatus.REFUSED:
        return Attention(
            "REFUSED_AFTER_DECISION",
            f"{phase.title} refused while {state}: {outcome.code} {outcome.reason}",
        )
    # Before the decision nobody is needed: the try deadline releases by itself.
    decided = state is not State.CREATED
    if isinstance(outcome, Unknown) and decided and step.attempts >= phase.retry.attempts:
        return Attention(
            "TOO_MANY_ATTEMPTS",
            f"{phase.title} did not answer {step.attempts} times while {state}: {outcome.code}",
        )
    return None


def entered(source: State, target: State, step: Step, phase: Phase) -> Step:
    """The step as it is when the transaction moves from `source` to `target`."""
    if phase.role is Role.ANNOUNCES:
        return evolve(step, status=StepStatus.CONFIRMED) if target in ANNOUNCED else step
    if target is State.CANCELLING:
        status = step.status
        if status is StepStatus.UNTRIED:
            status = StepStatus.CANCELLED
        elif status is StepStatus.REFUSED and source is State.CAPTURING:
            status = StepStatus.HELD  # the capture was refused; the authorization is still held
        forgotten = "" if step.secret else step.source
        attempts = 0 if status in MAY_HOLD else step.attempts  # a Cancel begins at 1
        return evolve(
            step,
            status=status,
            source=forgotten,
            attempts=attempts,
            next_attempt_at=None,
            next_action=None,
        )
    if target is State.CAPTURING and step.final_minor is None and step.amount is not None:
        step = evolve(step, final_minor=step.amount.minor)
    if target in LIVE and step.attempts and step.status is StepStatus.HELD:
        return evolve(step, attempts=0, next_attempt_at=None)  # its Confirm begins at 1
    return step
