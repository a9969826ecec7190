"""Operators act on payments that are stuck: whatever they answer, no participant is left behind."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from coordinator.domain.decide import Call
from coordinator.domain.errors import InvalidRequest
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.operator_errors import (
    AlreadyDecided,
    AlreadySettled,
    AnswerNotPossible,
    BeingDriven,
    ChangedMeanwhile,
    ContradictedByParticipant,
    EvidenceRequired,
    HeldByOperator,
    NothingToRetry,
    ParticipantSilent,
    TransactionNotFound,
)
from coordinator.domain.permitted import StepAnswer, WaitCode
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.resolving import Said
from coordinator.domain.transaction import EntryKind, StepStatus, Transaction
from coordinator.engine.operate.desk import Order
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from fault_injection.invariants import check
from fault_injection.model_participant import (
    Defer,
    Fault,
    Held,
    Late,
    LoseReply,
    LoseRequest,
    Refuse,
    Script,
)
from fault_injection.virtual_time import run
from fault_injection.world import World, payment
from tests.simulation.test_business_paths import at

CARD, MERCHANT, POINTS = "card_charge", "merchant_credit", "points_reserve"
ALICE = Order("alice", "the processor told us")
BOB = Order("bob", "the merchant asked")
CONFIRMED, CANCELLED = StepAnswer.CONFIRMED, StepAnswer.CANCELLED
ALWAYS = 10_000


class Healing:
    """A script until it is healed."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.healed = False

    def __call__(self, tx: TransactionId, call: Call, attempt: int) -> Fault | None:
        return None if self.healed else self._script(tx, call, attempt)


def lost(phase: str, *operations: Operation, fault: Fault | None = None) -> Healing:
    """Nothing of these operations is ever answered."""
    kind = LoseRequest() if fault is None else fault

    def script(tx: TransactionId, call: Call, attempt: int) -> Fault | None:
        for operation in operations:
            if found := at(phase, operation, kind, ALWAYS)(tx, call, attempt):
                return found
        return None

    return Healing(script)


async def stuck(world: World, **changes: object) -> Transaction:
    """A payment as it stands after a minute."""
    await world.start()
    accepted = await world.accept(payment(**changes), 0.0)  # type: ignore[arg-type]
    for _ in range(12):
        await world.clock.sleep(5.0)
        await world.recover.run_once()
    await world.clock.sleep(4.0)
    found = await world.store.get(accepted.transaction.id)
    assert found is not None
    return found


async def ended(world: World, transaction_id: TransactionId) -> Transaction:
    """Run to its end, checked against every invariant."""
    found = await world.until_settled(transaction_id)
    check(await world.scene(transaction_id))
    return found


# --- resolving the pivot ---------------------------------------------------------------------


def test_a_capture_whose_reply_was_lost_is_resolved_as_confirmed_and_the_payment_is_paid() -> None:
    async def play() -> None:
        world = World(lost(CARD, Operation.CONFIRM, fault=LoseReply()))
        found = await stuck(world)
        assert found.state is State.CAPTURING
        done = await world.resolve(found.id, CARD, CONFIRMED, ALICE)
        assert done.said is Said.CONFIRMED
        assert done.transaction.step(CARD).status is StepStatus.CONFIRMED
        paid = await ended(world, found.id)
        assert paid.state is State.PAID
        [line] = await lines(world, found.id)
        assert (line.actor, line.event, line.phase) == ("alice", "resolve", CARD)
        assert (line.code, line.detail) == ("CONFIRMED", "the processor told us")
        await world.close()

    run(play())


def test_a_capture_that_never_arrived_is_undone_there_before_it_counts_as_not_captured() -> None:
    async def play() -> None:
        world = World(lost(CARD, Operation.CONFIRM))
        found = await stuck(world)
        with pytest.raises(ContradictedByParticipant, match="still held there: resume"):
            await world.resolve(found.id, CARD, CONFIRMED, ALICE)
        done = await world.resolve(found.id, CARD, CANCELLED, ALICE)
        assert done.said is Said.HELD
        assert world.participants["card"].records[found.id, CARD] is Held.CANCELLED
        failed = await ended(world, found.id)
        assert failed.state is State.FAILED
        assert failed.failure is not None
        assert (failed.failure.code, failed.failure.phase) == ("CANCELLED_BY_OPERATOR", CARD)
        await world.close()

    run(play())


def test_what_was_captured_cannot_be_resolved_as_not_captured() -> None:
    async def play() -> None:
        script = lost(CARD, Operation.CONFIRM, fault=LoseReply())
        world = World(script)
        found = await stuck(world)
        with pytest.raises(ContradictedByParticipant, match="was captured there: resume"):
            await world.resolve(found.id, CARD, CANCELLED, evolve(ALICE, evidence="a phone call"))
        assert await unmoved(world, found)
        script.healed = True
        await world.resume(found.id, ALICE)
        assert (await ended(world, found.id)).state is State.PAID
        await world.close()

    run(play())


@pytest.mark.parametrize("late_s", [65.0, 80.0, 300.0])
def test_a_capture_that_arrives_after_the_answer_captures_nothing(late_s: float) -> None:
    async def play() -> None:
        world = World(lost(CARD, Operation.CONFIRM, fault=Late(late_s)))
        found = await stuck(world)
        await world.resolve(found.id, CARD, CANCELLED, ALICE)
        assert (await ended(world, found.id)).state is State.FAILED
        await world.clock.sleep(2 * late_s)
        check(await world.scene(found.id))
        await world.close()

    run(play())


def test_a_participant_that_cannot_be_asked_takes_evidence_for_confirmed() -> None:
    async def play() -> None:
        silent = lost(CARD, Operation.QUERY)
        answered = lost(CARD, Operation.CONFIRM, fault=LoseReply())
        world = World(lambda tx, call, n: silent(tx, call, n) or answered(tx, call, n))
        found = await stuck(world)
        for evidence in ("", "   "):
            with pytest.raises(EvidenceRequired, match="could not be asked"):
                await world.resolve(found.id, CARD, CONFIRMED, evolve(ALICE, evidence=evidence))
        assert await unmoved(world, found)
        order = evolve(ALICE, evidence="statement 7, line 3")
        done = await world.resolve(found.id, CARD, CONFIRMED, order)
        assert done.said is Said.UNKNOWN
        assert (await ended(world, found.id)).state is State.PAID
        [line] = await lines(world, found.id)
        assert line.evidence == "statement 7, line 3"
        await world.close()

    run(play())


def test_no_evidence_makes_an_unreachable_pivot_count_as_not_captured() -> None:
    async def play() -> None:
        script = lost(CARD, Operation.CONFIRM, Operation.QUERY, Operation.CANCEL)
        world = World(script)
        found = await stuck(world)
        with pytest.raises(ParticipantSilent, match="DEADLINE_EXCEEDED"):
            await world.resolve(found.id, CARD, CANCELLED, evolve(ALICE, evidence="a phone call"))
        now = await world.store.get(found.id)
        assert now is not None
        assert now.state is State.CAPTURING
        assert now.step(CARD).status is StepStatus.HELD
        script.healed = True
        assert (await ended(world, found.id)).state is State.PAID
        await world.close()

    run(play())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_crash_around_the_answer_is_healed_by_answering_again(number: int, after: bool) -> None:
    async def play() -> None:
        world = World(lost(CARD, Operation.CONFIRM))
        found = await stuck(world)
        world.crash_at(number, after=after)
        await world.call(lambda: resolve_until_it_is_done(world, found.id))
        await world.clock.sleep(1.0)
        assert world.crashes == 1
        assert (await ended(world, found.id)).state is State.FAILED
        await world.close()

    run(play())


async def resolve_until_it_is_done(world: World, transaction_id: TransactionId) -> None:
    try:
        await world.resolve(transaction_id, CARD, CANCELLED, ALICE)
    except (AlreadySettled, AnswerNotPossible):
        return  # it was written down before the process died


def test_a_cancel_whose_answer_was_lost_is_journaled_and_the_answer_given_again_counts() -> None:
    async def play() -> None:
        silent = lost(CARD, Operation.CANCEL, fault=LoseReply())
        world = World(lambda tx, call, n: silent(tx, call, n) or broken(tx, call, n))
        broken = lost(CARD, Operation.CONFIRM)
        found = await stuck(world)
        with pytest.raises(ParticipantSilent):
            await world.resolve(found.id, CARD, CANCELLED, ALICE)
        journal = await world.store.journal(found.id, 0, 1000)
        assert ("cancel", "unknown") in [(line.operation, line.outcome) for line in journal]
        silent.healed = True
        done = await world.resolve(found.id, CARD, CANCELLED, ALICE)
        assert done.said is Said.CANCELLED
        assert (await ended(world, found.id)).state is State.FAILED
        await world.close()

    run(play())


def test_a_cancel_of_which_a_crash_left_no_trace_is_found_without_the_operator() -> None:
    async def play() -> None:
        silent = lost(CARD, Operation.CANCEL, fault=LoseReply())
        broken = lost(CARD, Operation.CONFIRM)
        world = World(lambda tx, call, n: silent(tx, call, n) or broken(tx, call, n))
        found = await stuck(world)
        with pytest.raises(ParticipantSilent):
            await world.resolve(found.id, CARD, CANCELLED, ALICE)
        assert world.participants["card"].records[found.id, CARD] is Held.CANCELLED
        silent.healed = broken.healed = True
        failed = await ended(world, found.id)  # every Confirm fails, until a Query tells
        assert failed.failure is not None
        assert failed.failure.code == "CANCELLED_AT_PARTICIPANT"
        await world.close()

    run(play())


# --- resolving the others --------------------------------------------------------------------


def test_a_step_that_is_final_after_the_pivot_is_resolved_as_confirmed_only() -> None:
    async def play() -> None:
        world = World(lost(MERCHANT, Operation.CONFIRM, fault=LoseReply()))
        found = await stuck(world)
        assert found.state is State.SETTLING
        with pytest.raises(AnswerNotPossible, match="possible: confirmed"):
            await world.resolve(found.id, MERCHANT, CANCELLED, ALICE)
        with pytest.raises(AnswerNotPossible, match="possible: none"):
            await world.resolve(found.id, CARD, CONFIRMED, ALICE)
        await world.resolve(found.id, MERCHANT, CONFIRMED, ALICE)
        assert (await ended(world, found.id)).state is State.PAID
        await world.close()

    run(play())


def test_a_step_that_is_still_held_after_the_pivot_is_to_be_resumed() -> None:
    async def play() -> None:
        script = lost(MERCHANT, Operation.CONFIRM)
        world = World(script)
        found = await stuck(world)
        order = evolve(ALICE, evidence="the merchant says so")
        with pytest.raises(ContradictedByParticipant, match="its Confirm is sent again"):
            await world.resolve(found.id, MERCHANT, CONFIRMED, order)
        script.healed = True
        await world.resume(found.id, ALICE)
        assert (await ended(world, found.id)).state is State.PAID
        await world.close()

    run(play())


def test_a_release_whose_answer_was_lost_is_resolved_as_cancelled_only() -> None:
    async def play() -> None:
        declined = at(CARD, Operation.TRY, Refuse(), 1)
        silent = lost(POINTS, Operation.CANCEL, fault=LoseReply())
        world = World(lambda tx, call, n: declined(tx, call, n) or silent(tx, call, n))
        found = await stuck(world)
        assert found.state is State.CANCELLING
        with pytest.raises(AnswerNotPossible, match="possible: cancelled"):
            await world.resolve(found.id, POINTS, CONFIRMED, ALICE)
        await world.resolve(found.id, POINTS, CANCELLED, ALICE)
        assert (await ended(world, found.id)).state is State.FAILED
        await world.close()

    run(play())


def test_what_is_still_held_during_a_release_is_to_be_resumed() -> None:
    async def play() -> None:
        declined = at(CARD, Operation.TRY, Refuse(), 1)
        silent = lost(POINTS, Operation.CANCEL)
        world = World(lambda tx, call, n: declined(tx, call, n) or silent(tx, call, n))
        found = await stuck(world)
        order = evolve(ALICE, evidence="they say so")
        with pytest.raises(ContradictedByParticipant, match="its Cancel is sent again"):
            await world.resolve(found.id, POINTS, CANCELLED, order)
        silent.healed = True
        await world.resume(found.id, ALICE)
        assert (await ended(world, found.id)).state is State.FAILED
        await world.close()

    run(play())


def test_nothing_is_resolved_before_the_decision_or_after_the_end() -> None:
    async def play() -> None:
        world = World()
        reserved = await stuck(world, manual=True)
        assert reserved.state is State.RESERVED
        with pytest.raises(AnswerNotPossible, match="cancel it instead"):
            await world.resolve(reserved.id, CARD, CANCELLED, ALICE)
        await world.operator_cancel(reserved.id, ALICE)
        failed = await ended(world, reserved.id)
        with pytest.raises(AlreadySettled):
            await world.resolve(failed.id, CARD, CANCELLED, ALICE)
        with pytest.raises(InvalidRequest, match="points_reserve"):
            await world.resolve(failed.id, "notify", CANCELLED, ALICE)
        with pytest.raises(TransactionNotFound):
            await world.resolve(world.ids.transaction_id(), CARD, CANCELLED, ALICE)
        await world.close()

    run(play())


# --- holding, resuming, cancelling -----------------------------------------------------------


def test_a_held_payment_asks_nothing_more_and_goes_on_when_it_is_unheld() -> None:
    async def play() -> None:
        script = lost(CARD, Operation.CONFIRM)
        world = World(script)
        found = await stuck(world)
        held = await world.hold(found.id, ALICE)
        assert held.changed
        script.healed = True
        asked = len(world.participants["card"].calls)
        for _ in range(20):
            await world.clock.sleep(60.0)
            await world.recover.run_once()
        assert len(world.participants["card"].calls) == asked
        assert not (await world.hold(found.id, ALICE)).changed
        with pytest.raises(HeldByOperator, match="alice holds it already"):
            await world.hold(found.id, BOB)
        with pytest.raises(HeldByOperator, match="unhold it"):
            await world.resume(found.id, BOB)
        story = await world.explain(found.id, 100)
        assert [wait.code for wait in story.waits] == [WaitCode.HELD]
        assert (await world.unhold(found.id, BOB)).changed
        assert not (await world.unhold(found.id, BOB)).changed
        assert (await ended(world, found.id)).state is State.PAID
        acts = [(line.actor, line.event) for line in await lines(world, found.id)]
        assert acts == [("alice", "hold"), ("bob", "unhold")]
        await world.close()

    run(play())


def test_a_held_step_can_be_resolved_and_goes_on_only_when_it_is_unheld() -> None:
    async def play() -> None:
        world = World(lost(CARD, Operation.CONFIRM))
        found = await stuck(world)
        await world.hold(found.id, ALICE)
        done = await world.resolve(found.id, CARD, CANCELLED, ALICE)
        assert done.transaction.state is State.CAPTURING
        assert done.transaction.hold is not None
        await world.clock.sleep(100.0)
        await world.recover.run_once()
        await world.clock.sleep(100.0)
        still = await world.store.get(found.id)
        assert still is not None
        assert still.state is State.CAPTURING
        await world.unhold(found.id, ALICE)
        assert (await ended(world, found.id)).state is State.FAILED
        await world.close()

    run(play())


def test_a_hold_stops_a_driver_in_the_middle_of_a_call() -> None:
    async def play() -> None:
        world = World(lost(CARD, Operation.CONFIRM, fault=LoseReply()))
        await world.start()
        accepted = await world.accept(payment(), 0.0)
        await world.clock.sleep(0.2)  # the Confirm is under way
        await world.hold(accepted.transaction.id, ALICE)
        before = await world.store.get(accepted.transaction.id)
        for _ in range(5):
            await world.clock.sleep(30.0)
            await world.recover.run_once()
        assert await world.store.get(accepted.transaction.id) == before
        assert world.driver.in_flight == 0
        await world.unhold(accepted.transaction.id, ALICE)
        await world.resolve(accepted.transaction.id, CARD, CONFIRMED, ALICE)
        assert (await ended(world, accepted.transaction.id)).state is State.PAID
        await world.close()

    run(play())


def test_resuming_does_not_wait_out_the_backoff() -> None:
    async def play() -> None:
        script = lost(CARD, Operation.CONFIRM)
        world = World(script)
        await world.start()
        found = (await world.accept(payment(), 0.0)).transaction
        # Long before the breaker opens, which holds calls back for a while.
        while (due := found.step(CARD).next_attempt_at) is None or due < in_s(world, 2.0):
            await world.clock.sleep(1.0)
            await world.recover.run_once()
            reread = await world.store.get(found.id)
            assert reread is not None
            found = reread
        script.healed = True
        before = world.clock.now()
        await world.resume(found.id, ALICE)
        paid = await ended(world, found.id)
        assert paid.updated_at - before < timedelta(seconds=1)
        with pytest.raises(AlreadySettled):
            await world.resume(found.id, ALICE)
        await world.close()

    run(play())


def test_what_waits_for_its_caller_or_is_being_driven_is_not_resumed() -> None:
    async def play() -> None:
        world = World(lost(POINTS, Operation.TRY))
        await world.start()
        accepted = await world.accept(payment(key="busy"), 0.0)
        with pytest.raises(BeingDriven, match="simulated works on it"):
            await world.resume(accepted.transaction.id, ALICE)
        await ended(world, accepted.transaction.id)
        reserved = await world.accept(payment("card_only", "waits", manual=True), 0.0)
        await world.until_rest(reserved.transaction.id)
        with pytest.raises(NothingToRetry, match="waits for its caller"):
            await world.resume(reserved.transaction.id, ALICE)
        await world.close()

    run(play())


def test_an_operator_cancels_what_is_not_decided_and_nothing_else() -> None:
    async def play() -> None:
        script = lost(CARD, Operation.CONFIRM)
        world = World(script)
        reserved = await stuck(world, manual=True)
        await world.hold(reserved.id, BOB)
        done = await world.operator_cancel(reserved.id, ALICE)
        assert (done.changed, done.transaction.hold) == (True, None)
        failed = await ended(world, reserved.id)
        assert failed.failure is not None
        assert failed.failure.code == "CANCELLED_BY_OPERATOR"
        assert not (await world.operator_cancel(reserved.id, ALICE)).changed
        acts = [(line.actor, line.event) for line in await lines(world, reserved.id)]
        assert acts == [("bob", "hold"), ("alice", "unhold"), ("alice", "cancel")]
        capturing = await world.accept(payment(key="second"), 0.0)
        await world.clock.sleep(10.0)
        with pytest.raises(AlreadyDecided, match="resolved as not captured"):
            await world.operator_cancel(capturing.transaction.id, ALICE)
        script.healed = True
        paid = await ended(world, capturing.transaction.id)
        with pytest.raises(AlreadySettled, match="a refund gives the money back"):
            await world.operator_cancel(paid.id, ALICE)
        await world.close()

    run(play())


# --- refunds ---------------------------------------------------------------------------------


async def refunded(world: World) -> Transaction:
    """A refund of a paid payment, as it stands after a minute; `world` has begun."""
    accepted = await world.accept(payment(), 0.0)
    paid = await world.until_settled(accepted.transaction.id)
    refund = await world.refund(NewRefund("shop", "refund-1", paid.id, Part()))
    for _ in range(12):
        await world.clock.sleep(5.0)
        await world.recover.run_once()
    await world.clock.sleep(4.0)
    found = await world.store.get(refund.transaction.id)
    assert found is not None
    return found


def of_refunds(script: Script) -> Healing:
    """The script for refunds alone."""
    return Healing(lambda tx, call, n: script(tx, call, n) if call.refund_of else None)


def test_a_refund_whose_answer_was_lost_is_resolved_and_its_payment_knows() -> None:
    async def play() -> None:
        world = World(of_refunds(lost(CARD, Operation.CONFIRM, fault=LoseReply())))
        await world.start()
        found = await refunded(world)
        assert found.state is State.SETTLING
        with pytest.raises(AnswerNotPossible):
            await world.resolve(found.id, CARD, CANCELLED, ALICE)
        await world.resolve(found.id, CARD, CONFIRMED, ALICE)
        assert (await ended(world, found.id)).state is State.PAID
        assert found.refund_of is not None
        paid = await ended(world, found.refund_of.payment_id)
        assert paid.state is State.REFUNDED
        await world.close()

    run(play())


def test_a_refund_is_cancelled_while_it_is_not_decided() -> None:
    async def play() -> None:
        world = World(of_refunds(at(MERCHANT, Operation.TRY, Defer(10_000.0), 1)))
        await world.start()
        found = await refunded(world)
        assert found.state is State.CREATED
        await world.operator_cancel(found.id, ALICE)
        failed = await ended(world, found.id)
        assert failed.failure is not None
        assert failed.failure.code == "CANCELLED_BY_OPERATOR"
        await world.close()

    run(play())


# --- several operators -----------------------------------------------------------------------


def test_the_second_of_two_operators_is_told_what_the_first_did() -> None:
    async def play() -> None:
        script = lost(CARD, Operation.CONFIRM)
        world = World(script)
        found = await stuck(world)
        await world.hold(found.id, ALICE)
        with pytest.raises(ChangedMeanwhile, match=r"alice: hold at .* \(the processor told us\)"):
            await world.resume(found.id, evolve(BOB, if_version=found.version))
        script.healed = True
        await world.unhold(found.id, ALICE)
        await ended(world, found.id)
        await world.close()

    run(play())


def test_an_operator_who_is_overtaken_while_the_participant_is_asked_is_told_by_whom() -> None:
    async def play() -> None:
        world = World(lost(CARD, Operation.CONFIRM))
        found = await stuck(world)
        card = world.participants["card"]
        perform = card.perform

        async def overtaken(*arguments: object) -> object:
            card.perform = perform  # type: ignore[method-assign]
            await world.hold(found.id, BOB)
            return await perform(*arguments)  # type: ignore[arg-type]

        card.perform = overtaken  # type: ignore[method-assign, assignment]
        with pytest.raises(ChangedMeanwhile, match=r"bob: hold at .* \(the merchant asked\)"):
            await world.resolve(found.id, CARD, CANCELLED, ALICE)
        await world.unhold(found.id, BOB)
        await world.resolve(found.id, CARD, CANCELLED, ALICE)
        assert (await ended(world, found.id)).state is State.FAILED
        await world.close()

    run(play())


def in_s(world: World, seconds: float) -> datetime:
    """So many seconds from now."""
    return world.clock.now() + timedelta(seconds=seconds)


async def lines(world: World, transaction_id: TransactionId) -> list:  # type: ignore[type-arg]
    """The journal's lines of operators."""
    journal = await world.store.journal(transaction_id, 0, 10_000)
    return [line for line in journal if line.kind is EntryKind.OPERATOR]


async def unmoved(world: World, before: Transaction) -> bool:
    """Whether it stands in the same state with the same steps, and no operator is journaled."""
    now = await world.store.get(before.id)
    assert now is not None
    statuses = [[step.status for step in each.steps] for each in (before, now)]
    return (
        now.state is before.state
        and statuses[0] == statuses[1]
        and not await lines(world, before.id)
    )
