"""The alarm works: each planted bug is caught by an invariant of the simulation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress

import pytest

from adapters.guarded_participant import GuardedParticipant
from coordinator.domain import decide, opening, resolving
from coordinator.domain.machine import Event, State
from coordinator.domain.operator_errors import ParticipantSilent
from coordinator.domain.outcome import Applied, Outcome, Refused, Unknown
from coordinator.domain.permitted import StepAnswer
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Draft, Failure, RefundOf, Step, StepStatus, Transaction
from coordinator.engine import drive, recover, refund, returned
from coordinator.engine.operate import resolve
from coordinator.engine.operate.desk import Order
from fault_injection.invariants import Scene, Violation, check
from fault_injection.model_participant import (
    Held,
    Key,
    Late,
    LoseReply,
    LoseRequest,
    ModelParticipant,
    Refuse,
    Script,
)
from fault_injection.virtual_time import run
from fault_injection.world import LEASE_S, World, payment
from tests.simulation.test_business_paths import at, play
from tests.simulation.test_operations import walk


def capture_timeout_taken_for_a_refusal(patch: pytest.MonkeyPatch) -> Script:
    perform = ModelParticipant.perform

    async def eager(self: ModelParticipant, tx: object, call: object, until: object) -> Outcome:
        outcome = await perform(self, tx, call, until)  # type: ignore[arg-type]
        confirm = call.operation is Operation.CONFIRM  # type: ignore[attr-defined]
        if confirm and isinstance(outcome, Unknown):
            return Refused("DECLINED", "it did not answer")
        return outcome

    patch.setattr(ModelParticipant, "perform", eager)
    return at("card_charge", Operation.CONFIRM, LoseReply(), 1)


def confirms_in_parallel_with_the_pivot(patch: pytest.MonkeyPatch) -> Script:
    def hasty(tx: Transaction, flow: object, now: object) -> decide.Action:
        if any(step.status is StepStatus.REFUSED for step in tx.steps):
            return capturing(tx, flow, now)  # type: ignore[arg-type]
        left = [s for s in tx.steps if s.amount and s.status is not StepStatus.CONFIRMED]
        if not left:
            return decide.Advance((Event.SETTLE,))
        return decide._ask(tx, left, flow, now)  # type: ignore[arg-type]

    capturing = decide._capturing
    patch.setattr(decide, "_capturing", hasty)
    return at("card_charge", Operation.CONFIRM, Refuse(), 1)


def a_participant_without_tombstones(patch: pytest.MonkeyPatch) -> Script:
    cancel_ = ModelParticipant._cancel

    def forgetful(self: ModelParticipant, key: Key) -> Outcome:
        return cancel_(self, key) if key in self.records else Applied()

    patch.setattr(ModelParticipant, "_cancel", forgetful)
    return at("points_reserve", Operation.TRY, Late(60.0), 99)


def a_participant_without_a_fence(patch: pytest.MonkeyPatch) -> Script:
    def careless(self: ModelParticipant, key: Key, _call: object, _fault: object) -> Outcome:
        self.records[key] = Held.CONFIRMED
        self.effects[*key, Operation.CONFIRM] += 1
        return Applied()

    patch.setattr(ModelParticipant, "_confirm", careless)
    return at("card_charge", Operation.CONFIRM, LoseReply(), 1)


def an_unknown_try_is_not_cancelled(patch: pytest.MonkeyPatch) -> Script:
    patch.setattr(decide, "MAY_HOLD", frozenset({StepStatus.HELD}))
    return at("points_reserve", Operation.TRY, LoseReply(), 99)


def a_lost_try_is_taken_for_one_that_never_left(patch: pytest.MonkeyPatch) -> Script:
    perform = GuardedParticipant.perform

    async def forgetful(self: GuardedParticipant, *asked: object) -> Outcome:
        outcome = await perform(self, *asked)  # type: ignore[arg-type] # passed on as it came
        return evolve(outcome, retry_after_s=0.5) if isinstance(outcome, Unknown) else outcome

    patch.setattr(GuardedParticipant, "perform", forgetful)
    return at("points_reserve", Operation.TRY, LoseReply(), 99)


def the_release_forgets_why(patch: pytest.MonkeyPatch) -> Script:
    patch.setattr(decide, "Failure", lambda *_args: Failure("", ""))
    return at("card_charge", Operation.TRY, Refuse(), 1)


def no_outbox_row(patch: pytest.MonkeyPatch) -> Script:
    change = Draft.change
    patch.setattr(Draft, "change", lambda self, **kw: evolve(change(self, **kw), events=()))
    return at("card_charge", Operation.TRY, LoseRequest(), 1)


PLANTED = (
    capture_timeout_taken_for_a_refusal,
    confirms_in_parallel_with_the_pivot,
    a_participant_without_tombstones,
    a_participant_without_a_fence,
    an_unknown_try_is_not_cancelled,
    a_lost_try_is_taken_for_one_that_never_left,
    the_release_forgets_why,
    no_outbox_row,
)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_caught(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], Script]
) -> None:
    script = plant(monkeypatch)
    with pytest.raises(Violation):
        check(run(play(World(script), "points_and_card")))


def test_forgetting_what_another_process_may_have_sent_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(run(play_with_a_try_in_flight_at_the_crash()))
    monkeypatch.setattr(recover, "as_recovered", lambda tx: tx)
    with pytest.raises(Violation):
        check(run(play_with_a_try_in_flight_at_the_crash()))


async def play_with_a_try_in_flight_at_the_crash() -> Scene:
    """The Try arrives long after its sender died; the next process is past the try deadline."""
    world = World(at("points_reserve", Operation.TRY, Late(60.0), 1))
    await world.start()
    try:
        accepted = await world.accept(payment(), 0.0)
        await world.clock.sleep(0.5)
        await world.crash()
        await world.clock.sleep(LEASE_S + 5.0)
        world.restart()
        await world.until_settled(accepted.transaction.id)
        return await world.scene(accepted.transaction.id)
    finally:
        await world.close()


def a_refund_that_does_not_tell_its_payment(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_args: object) -> None:
        return None

    patch.setattr(drive, "note_returned", nothing)


def a_refund_that_does_not_count_the_others(patch: pytest.MonkeyPatch) -> None:
    """And participants that do not check it once more."""
    count = refund.refundable
    patch.setattr(refund, "refundable", lambda payment, _refunds: count(payment, []))
    patch.setattr(ModelParticipant, "_is_too_much", lambda _self, _key: False)


def two_refunds_with_one_ordinal(patch: pytest.MonkeyPatch) -> None:
    """They are counted, but nothing keeps two of them from counting the same ones."""
    of = RefundOf
    numbers = itertools.count(1)
    patch.setattr(opening, "RefundOf", lambda payment_id, _ordinal: of(payment_id, next(numbers)))
    patch.setattr(ModelParticipant, "_is_too_much", lambda _self, _key: False)


def a_payment_told_before_the_refund_is_durable(patch: pytest.MonkeyPatch) -> None:
    """Two that end at one instant then see neither each other nor themselves."""
    patch.setattr(returned, "given_back", lambda refund_: refund_.state is State.PAID)


PLANTED_IN_REFUNDS = (
    a_refund_that_does_not_tell_its_payment,
    a_refund_that_does_not_count_the_others,
    two_refunds_with_one_ordinal,
    a_payment_told_before_the_refund_is_durable,
)


@pytest.mark.parametrize("plant", PLANTED_IN_REFUNDS, ids=lambda plant: plant.__name__)
def test_a_bug_planted_in_refunds_is_caught(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    with pytest.raises(Violation, match=r"S13|L1"):
        run(walk(World(), "refund at once", "points_and_card"))


def test_a_partial_capture_that_keeps_what_it_drops_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Step, "dropped", property(lambda _step: False))
    with pytest.raises(Violation):
        run(walk(World(), "capture from the last tender", "points_and_card"))


async def operator_is_wrong(patch: pytest.MonkeyPatch, judgement: resolving.Judgement) -> None:
    """An operator says that nothing was captured, when it was; the participant is not believed."""
    world = World(at("card_charge", Operation.CONFIRM, LoseReply(), 5))
    await world.start()
    accepted = await world.accept(payment(), 0.0)
    await world.clock.sleep(3.0)
    patch.setattr(resolve, "judge", lambda *_: judgement)
    order = Order("alice", "they say that nothing was captured")
    with suppress(ParticipantSilent):
        await world.resolve(accepted.transaction.id, "card_charge", StepAnswer.CANCELLED, order)
    await world.until_settled(accepted.transaction.id)
    check(await world.scene(accepted.transaction.id))
    await world.close()


def test_taking_an_operators_word_that_nothing_was_captured_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Violation):
        run(operator_is_wrong(monkeypatch, resolving.Accept()))


def test_a_cancel_that_has_to_come_first_keeps_a_wrong_answer_from_counting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(operator_is_wrong(monkeypatch, resolving.CancelFirst()))
