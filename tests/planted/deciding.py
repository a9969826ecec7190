"""Bugs in what is decided, and in what an answer is taken for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.breaker import Breaker
from adapters.guarded_participant import GuardedParticipant
from coordinator.domain import decide, moves
from coordinator.domain.flow import Flow
from coordinator.domain.machine import Event, State
from coordinator.domain.outcome import Applied, Outcome, Pending, Refused, Unknown, never_left
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.retry import RetryPolicy
from coordinator.domain.step import Result, Step, StepStatus, answered, credible, entered
from coordinator.domain.transaction import Draft, Failure, Transaction
from coordinator.engine import cancel, drive, recover
from coordinator.ports import BreakerState
from fault_injection.model import coordinator as modelled
from tests.planted.bug import Layer, planted


@planted(
    "A capture that did not answer in time is taken for refused.",
    Layer.SINGLES,
    Layer.WINDOWS,
    Layer.MODEL,
    Layer.SEEDS,
    variant="timeout-is-refusal",
)
def capture_timeout_taken_for_a_refusal(patch: pytest.MonkeyPatch) -> None:
    def eager(state: State, result: Result) -> bool:
        return state is State.CAPTURING and result.operation is Operation.CONFIRM

    _mistake(patch, eager, Unknown, Refused("DECLINED", "it did not answer"))


@planted(
    "Once the pivot is confirmed, another Confirm without an answer is taken for done.",
    Layer.SINGLES,
    Layer.WINDOWS,
    Layer.MODEL,
    Layer.SEEDS,
    variant="timeout-is-success",
)
def confirm_timeout_taken_for_success(patch: pytest.MonkeyPatch) -> None:
    _mistake(patch, lambda state, _result: state is State.SETTLING, Unknown, Applied())


@planted(
    "The pivot's refusal is retried like an outage: its code is not among the final ones.",
    Layer.MODEL,
    Layer.SINGLES,
    Layer.UNIT,
    Layer.SEEDS,
)
def refusal_taken_for_transient(patch: pytest.MonkeyPatch) -> None:
    transient = Unknown("DECLINED", "try again")
    _mistake(patch, lambda state, _result: state is State.CAPTURING, Refused, transient)


@planted(
    "A Try whose customer still has to act is taken for held.",
    Layer.SINGLES,
    Layer.MODEL,
    Layer.UNIT,
)
def pending_taken_for_held(patch: pytest.MonkeyPatch) -> None:
    _mistake(patch, lambda state, _result: state is State.CREATED, Pending, Applied())


def _mistake(patch: pytest.MonkeyPatch, when: Any, wrong: type, taken_for: Outcome) -> None:
    """An outcome of type `wrong` is taken for something else."""

    def gullible(state: State, result: Result) -> Result:
        mistaken = isinstance(result.outcome, wrong) and not never_left(result.outcome)
        if mistaken and when(state, result):
            return evolve(result, outcome=taken_for)
        return credible(state, result)

    patch.setattr(moves, "credible", gullible)


@planted(
    "The other Confirms leave together with the pivot's, since that saves a round trip.",
    Layer.SINGLES,
    Layer.MODEL,
    Layer.SEEDS,
    variant="parallel-confirm",
)
def confirms_in_parallel_with_the_pivot(patch: pytest.MonkeyPatch) -> None:
    capturing = decide._capturing

    def hasty(tx: Transaction, flow: Flow, now: datetime) -> decide.Action:
        if any(step.status is StepStatus.REFUSED for step in tx.steps):
            return capturing(tx, flow, now)
        left = [s for s in tx.steps if s.amount and s.status is not StepStatus.CONFIRMED]
        return decide._ask(tx, left, flow, now) if left else decide.Advance((Event.SETTLE,))

    patch.setattr(decide, "_capturing", hasty)


@planted(
    "A release cancels what is known to be held, and not what an unanswered Try may hold.",
    Layer.SINGLES,
    Layer.WINDOWS,
    Layer.MODEL,
    Layer.SEEDS,
    Layer.UNIT,
    variant="trying-not-cancelled",
)
def cancel_not_sent_for_an_unknown_try(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "MAY_HOLD", frozenset({StepStatus.HELD}))


@planted(
    "A Try that got no answer is taken for one that the breaker held back, and never left.",
    Layer.SINGLES,
    Layer.WINDOWS,
    Layer.SEEDS,
    Layer.UNIT,
)
def lost_try_taken_for_one_that_never_left(patch: pytest.MonkeyPatch) -> None:
    perform = GuardedParticipant.perform

    async def forgetful(self: GuardedParticipant, *asked: Any) -> Outcome:
        outcome = await perform(self, *asked)
        return evolve(outcome, retry_after_s=0.5) if isinstance(outcome, Unknown) else outcome

    patch.setattr(GuardedParticipant, "perform", forgetful)


@planted(
    "A process that takes a payment up believes that what has no answer in the table was not sent.",
    Layer.MODEL,
    Layer.SEEDS,
    Layer.UNIT,
    variant="recovered-as-untried",
)
def recovered_as_untried(patch: pytest.MonkeyPatch) -> None:
    for module in (recover, drive, cancel, modelled):
        patch.setattr(module, "as_recovered", lambda transaction: transaction)


@planted(
    "A release does not write down why.",
    Layer.SINGLES,
    Layer.WINDOWS,
    Layer.MODEL,
    Layer.SEEDS,
    Layer.UNIT,
)
def release_forgets_why(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "Failure", lambda *_words: Failure("", ""))


@planted(
    "The try deadline is counted from the latest answer instead of from the beginning.",
    Layer.UNIT,
    where="may_take_the_whole_reservation",
)
def deadline_from_the_wrong_moment(patch: pytest.MonkeyPatch) -> None:
    def sliding(_before: object, _steps: object, flow: Flow, now: datetime) -> datetime:
        return now + timedelta(seconds=flow.try_budget_s)

    patch.setattr(moves, "_try_deadline", sliding)


@planted(
    "A reservation expires whatever its state, also while its capture is under way.",
    Layer.MODEL,
    Layer.UNIT,
)
def expiry_fires_while_capturing(patch: pytest.MonkeyPatch) -> None:
    capturing = decide._capturing

    def expiring(tx: Transaction, flow: Flow, now: datetime) -> decide.Action:
        over = now >= tx.reserved_until
        return decide._expired() if over else capturing(tx, flow, now)

    patch.setattr(decide, "_capturing", expiring)


@planted(
    "A caller's cancel is still allowed while the capture is under way.",
    Layer.SEEDS,
    Layer.UNIT,
)
def cancelled_while_capturing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        cancel, "may_cancel", lambda tx: decide.may_cancel(tx) or tx.state is State.CAPTURING
    )


@planted(
    "To save a commit, the capture leaves first and the decision is written with its answer.",
    Layer.SEEDS,
    Layer.UNIT,
)
def decision_acted_on_before_its_commit(patch: pytest.MonkeyPatch) -> None:
    advance = drive.Driver._advance

    async def hasty(
        self: drive.Driver, draft: Draft, flow: Flow, action: decide.Advance, now: datetime
    ) -> Draft | None:
        if Event.CAPTURE not in action.events:
            return await advance(self, draft, flow, action, now)
        return moves.advance(draft, flow, action.events, now, action.failure)

    patch.setattr(drive.Driver, "_advance", hasty)


@planted(
    "The waits between attempts double for ever: the cap was lost, and the jitter hid it.",
    Layer.WINDOWS,
    Layer.UNIT,
)
def backoff_without_a_cap(patch: pytest.MonkeyPatch) -> None:
    def doubling(self: RetryPolicy, attempt: int, draw: float) -> float:
        return float(self.base_s * 2.0 ** min(attempt - 1, 32) * (1.0 - self.jitter * draw))

    patch.setattr(RetryPolicy, "delay_s", doubling)


@planted(
    "A breaker's trial call does not end when it succeeds, so that the breaker never closes.",
    Layer.WINDOWS,
    Layer.UNIT,
    where="refund at once, points_only",
)
def breaker_never_closes(patch: pytest.MonkeyPatch) -> None:
    ended = Breaker.ended

    def stuck(self: Breaker, epoch: int, *, failed: bool | None) -> None:
        if failed or self.state is not BreakerState.HALF_OPEN:
            ended(self, epoch, failed=failed)

    patch.setattr(Breaker, "ended", stuck)


@planted(
    "What a partial capture takes nothing of is confirmed with the rest, instead of cancelled.",
    Layer.SINGLES,
    Layer.SEEDS,
    Layer.UNIT,
    variant="dropped-is-confirmed",
    where="capture from the first tender",
)
def partial_capture_keeps_what_it_drops(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Step, "dropped", property(lambda _step: False))


@planted(
    "A card's token stays in the record after its last use.",
    Layer.SINGLES,
    Layer.SEEDS,
    Layer.UNIT,
)
def secret_kept_after_its_last_use(patch: pytest.MonkeyPatch) -> None:
    def keeping_answered(state: State, step: Step, *rest: Any) -> Step:
        return evolve(answered(state, step, *rest), source=step.source)

    def keeping_entered(source: State, target: State, step: Step, *rest: Any) -> Step:
        return evolve(entered(source, target, step, *rest), source=step.source)

    patch.setattr(moves, "answered", keeping_answered)
    patch.setattr(moves, "entered", keeping_entered)
