"""What participants report by themselves: decided earlier than asked, or done after all."""

from __future__ import annotations

from datetime import datetime

import pytest

from coordinator.domain.decide import Call
from coordinator.domain.errors import NotFound, NotUndone
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.outcome import NextAction, Outcome, Pending
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import EntryKind, Transaction
from fault_injection.invariants import check
from fault_injection.model_participant import (
    Defer,
    Held,
    LoseReply,
    LoseRequest,
    ModelParticipant,
    Refuse,
    Script,
)
from fault_injection.virtual_time import run
from fault_injection.world import World, payment
from tests.simulation.test_business_paths import at

ACTION = NextAction("redirect", "https://card.example/confirm")


def asks_the_customer(world: World) -> None:
    """The card's pending answers say where to send the customer."""
    card = world.participants["card"]
    perform = card.perform

    async def with_action(transaction_id: TransactionId, call: Call, until: datetime) -> Outcome:
        outcome = await perform(transaction_id, call, until)
        return Pending(next_action=ACTION) if isinstance(outcome, Pending) else outcome

    card.perform = with_action  # type: ignore[method-assign, assignment]


async def pending_payment(world: World) -> Transaction:
    await world.start()
    asks_the_customer(world)
    accepted = await world.accept(payment(), 0.0)
    return await world.driver.updates.at_rest(accepted.transaction, 60.0)


PENDING = at("card_charge", Operation.TRY, Defer(10_000.0), 1)


def test_a_payment_that_waits_for_its_customer_says_where_to_send_them_and_holds_no_task() -> None:
    async def play() -> None:
        world = World(PENDING)
        waiting = await pending_payment(world)
        assert waiting.state is State.CREATED
        assert waiting.step("card_charge").next_action == ACTION
        await world.clock.sleep(0.0)
        assert world.driver.in_flight == 0
        await world.close()

    run(play())


def test_a_report_has_a_pending_step_asked_for_at_once() -> None:
    async def play() -> None:
        world = World(PENDING)
        waiting = await pending_payment(world)
        await world.clock.sleep(40.0)  # by now it is asked for once in half a minute
        world.participants["card"].decide_pending((waiting.id, "card_charge"))
        before = world.clock.now()
        await world.report("card", waiting.id, "card_charge")
        paid = await world.until_settled(waiting.id)
        assert paid.state is State.PAID
        assert (paid.updated_at - before).total_seconds() < 1.0
        assert paid.step("card_charge").next_action is None
        check(await world.scene(waiting.id))
        await world.close()

    run(play())


def test_reports_that_are_repeated_or_too_early_change_nothing() -> None:
    async def play() -> None:
        world = World(PENDING)
        waiting = await pending_payment(world)
        for _ in range(3):
            await world.report("card", waiting.id, "card_charge")
            await world.clock.sleep(0.1)
        found = await world.store.get(waiting.id)
        assert found is not None
        assert found.step("card_charge").status == "PENDING"
        world.participants["card"].decide_pending((waiting.id, "card_charge"))
        await world.until_settled(waiting.id)
        before = await world.store.get(waiting.id)
        await world.report("card", waiting.id, "card_charge")
        assert await world.store.get(waiting.id) == before
        check(await world.scene(waiting.id))
        await world.close()

    run(play())


@pytest.mark.parametrize(
    ("participant", "phase"), [("points", "card_charge"), ("card", "gift_card"), ("nobody", "x")]
)
def test_a_report_on_a_step_that_is_not_its_own_is_refused(participant: str, phase: str) -> None:
    async def play() -> None:
        world = World(PENDING)
        waiting = await pending_payment(world)
        with pytest.raises(NotFound):
            await world.report(participant, waiting.id, phase)
        with pytest.raises(NotFound):
            await world.report("card", world.ids.transaction_id(), "card_charge")
        assert await world.store.get(waiting.id) == waiting
        await world.close()

    run(play())


def no_fence(card: ModelParticipant, transaction: Transaction) -> None:
    """Does what a participant without a fence does: holds after it was told to cancel."""
    card.records[transaction.id, "card_charge"] = Held.HELD


async def failed_with_a_late_success(world: World) -> Transaction:
    await world.start()
    accepted = await world.accept(payment(), 0.0)
    failed = await world.until_settled(accepted.transaction.id)
    assert failed.state is State.FAILED
    no_fence(world.participants["card"], failed)
    return failed


LOST = at("card_charge", Operation.TRY, LoseRequest(), 99)


def test_a_late_success_is_undone_journaled_and_announced_once() -> None:
    async def play() -> None:
        world = World(LOST)
        failed = await failed_with_a_late_success(world)
        await world.report("card", failed.id, "card_charge")
        await world.report("card", failed.id, "card_charge")
        assert world.participants["card"].records[failed.id, "card_charge"] is Held.CANCELLED
        journal = await world.store.journal(failed.id, 0, 100)
        last = [(line.kind, line.operation, line.outcome) for line in journal[-2:]]
        attempt = EntryKind.ATTEMPT
        assert last == [(attempt, "query", "applied"), (attempt, "cancel", "applied")]
        scene = await world.scene(failed.id)
        announced = [(event.state, event.late_phase) for event in scene.events]
        assert announced == [(State.FAILED, ""), (State.FAILED, "card_charge")]
        assert scene.transaction.state is State.FAILED
        await world.close()

    run(play())


@pytest.mark.parametrize("operation", [Operation.QUERY, Operation.CANCEL])
def test_a_late_success_that_cannot_be_undone_yet_has_the_report_repeated(
    operation: Operation,
) -> None:
    async def play() -> None:
        silent: list[Script] = []

        def script(tx: TransactionId, call: Call, attempt: int) -> object:
            return LOST(tx, call, attempt) or (silent and silent[0](tx, call, attempt)) or None

        world = World(script)  # type: ignore[arg-type]
        failed = await failed_with_a_late_success(world)
        silent.append(at("card_charge", operation, LoseRequest(), 99))
        with pytest.raises(NotUndone):
            await world.report("card", failed.id, "card_charge")
        before = await world.store.get(failed.id)
        assert before == failed
        silent.clear()
        await world.report("card", failed.id, "card_charge")
        assert world.participants["card"].records[failed.id, "card_charge"] is Held.CANCELLED
        await world.close()

    run(play())


def test_a_report_on_a_step_that_was_undone_as_it_should_changes_nothing() -> None:
    async def play() -> None:
        world = World(at("card_charge", Operation.TRY, LoseReply(), 99))
        await world.start()
        accepted = await world.accept(payment(), 0.0)
        failed = await world.until_settled(accepted.transaction.id)
        assert failed.state is State.FAILED
        await world.report("card", failed.id, "card_charge")
        assert await world.store.get(failed.id) == failed
        check(await world.scene(failed.id))
        await world.close()

    run(play())


def test_a_report_on_a_refused_step_changes_nothing() -> None:
    async def play() -> None:
        world = World(at("card_charge", Operation.TRY, Refuse(), 99))
        await world.start()
        accepted = await world.accept(payment(), 0.0)
        failed = await world.until_settled(accepted.transaction.id)
        await world.report("card", failed.id, "card_charge")
        assert await world.store.get(failed.id) == failed
        await world.close()

    run(play())


def test_a_report_while_the_release_is_under_way_has_to_be_repeated() -> None:
    """The Cancel may have been answered before the late success, and not be durable yet."""

    async def play() -> None:
        refused = at("merchant_credit", Operation.TRY, Refuse(), 1)
        silent = at("points_reserve", Operation.CANCEL, LoseRequest(), 3)
        world = World(lambda tx, call, n: refused(tx, call, n) or silent(tx, call, n))
        await world.start()
        accepted = await world.accept(payment(), 0.0)
        await world.clock.sleep(1.0)
        found = await world.store.get(accepted.transaction.id)
        assert found is not None
        assert found.state is State.CANCELLING
        with pytest.raises(NotUndone):
            await world.report("points", found.id, "points_reserve")
        await world.until_settled(found.id)
        await world.report("points", found.id, "points_reserve")
        check(await world.scene(found.id))
        await world.close()

    run(play())
