"""The use cases, on virtual time over the store of simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from coordinator.domain.cards import has_card_number
from coordinator.domain.decide import Call
from coordinator.domain.errors import (
    InvalidRequest,
    KeyReused,
    LostTheRace,
    NotFound,
    OrderHasPayment,
    StoreUnavailable,
    WrongState,
)
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.outcome import Outcome
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import Change, Failure, OutboxEvent, Transaction
from coordinator.engine.accept import Accept, OrderConflict
from coordinator.engine.periodic import Periodic
from coordinator.engine.recover import LEAST
from coordinator.ports import CommitResult, LostRace, OrderTaken
from fault_injection.invariants import check
from fault_injection.model_participant import (
    Defer,
    Fault,
    Held,
    Late,
    LoseReply,
    LoseRequest,
    ModelParticipant,
    Refuse,
    Script,
    no_faults,
)
from fault_injection.virtual_time import Idle, run
from fault_injection.world import FLOWS, World, payment

CANCELLED = Failure("CANCELLED_BY_CALLER", "changed their mind")


def on(script: Script, story: Callable[[World], Awaitable[None]]) -> World:
    """Runs a story in a fresh world."""
    world = None

    async def program() -> None:
        nonlocal world
        world = World(script)
        await world.start()
        try:
            await story(world)
        finally:
            await world.close()

    run(program())
    assert world is not None
    return world


def always(phase: str, operation: Operation, fault: Fault) -> Script:
    def script(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        return fault if (call.phase.name, call.operation) == (phase, operation) else None

    return script


async def settled(world: World, transaction: Transaction) -> Transaction:
    return await world.driver.updates.at_rest(transaction, 600.0)


def test_a_refused_try_is_told_without_waiting_for_its_slow_neighbour() -> None:
    def script(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        if call.operation is not Operation.TRY:
            return None
        return Refuse() if call.phase.name == "points_reserve" else Late(30.0)

    async def story(world: World) -> None:
        began = world.clock.now()
        accepted = await world.accept(payment(), 0.0)
        done = await settled(world, accepted.transaction)
        assert done.state is State.FAILED
        assert (world.clock.now() - began).total_seconds() < 0.1
        await world.until_settled(done.id)
        check(await world.scene(done.id))

    on(script, story)


def test_a_try_that_never_answers_is_released_at_the_deadline_naming_the_phase() -> None:
    async def story(world: World) -> None:
        began = world.clock.now()
        accepted = await world.accept(payment(), 0.0)
        done = await world.until_settled(accepted.transaction.id)
        assert done.failure == Failure(
            "TRY_DEADLINE_EXCEEDED",
            "Card did not answer in time (last error: DEADLINE_EXCEEDED)",
            "card_charge",
        )
        assert (world.clock.now() - began).total_seconds() < 30
        check(await world.scene(done.id))

    on(always("card_charge", Operation.TRY, LoseRequest()), story)


def test_a_pending_try_is_queried_until_the_customer_has_acted() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        done = await world.until_settled(accepted.transaction.id)
        assert done.state is State.PAID, "a customer may take longer than the try budget"
        asked = [operation for _id, phase, operation in world.participants["card"].calls]
        assert asked[0] is Operation.TRY
        assert Operation.QUERY in asked
        assert asked.count(Operation.TRY) == 1

    on(always("card_charge", Operation.TRY, Defer(60.0)), story)


def test_a_customer_who_never_acts_is_not_waited_for_beyond_the_reservation() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        done = await world.until_settled(accepted.transaction.id)
        assert done.state is State.FAILED
        assert done.failure is not None
        assert (done.failure.code, done.failure.phase) == ("RESERVATION_EXPIRED", "card_charge")
        lasted = (done.updated_at - done.created_at).total_seconds()
        assert FLOWS["points_and_card"].reservation_s <= lasted < 1000

    on(always("card_charge", Operation.TRY, Defer(2000.0)), story)


def test_a_long_wait_holds_no_task() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        await world.clock.sleep(60.0)
        assert world.driver.in_flight == 0
        found = await world.store.get(accepted.transaction.id)
        assert found is not None
        assert found.state is State.CAPTURING
        assert found.due_at is not None
        assert found.step("card_charge").attempts >= 4

    on(always("card_charge", Operation.CONFIRM, LoseRequest()), story)


def test_attention_is_raised_after_the_policys_attempts_and_falls_when_it_is_over() -> None:
    def script(_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        if (call.phase.name, call.operation) == ("card_charge", Operation.CONFIRM):
            return LoseReply() if attempt < 14 else None
        return None

    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        done = await world.until_settled(accepted.transaction.id)
        codes = {change.after.attention for change in world.observer.changes}
        assert any(item and item.code == "TOO_MANY_ATTEMPTS" for item in codes)
        assert done.state is State.PAID
        assert done.attention is None

    on(script, story)


def test_a_confirm_that_is_refused_after_the_decision_parks_with_attention() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        await world.clock.sleep(100.0)
        await world.recover.run_once()
        found = await world.store.get(accepted.transaction.id)
        assert found is not None
        assert found.state is State.SETTLING
        assert found.attention is not None
        assert found.attention.code == "REFUSED_AFTER_DECISION"
        confirms = world.participants["merchant"].calls.count(
            (found.id, "merchant_credit", Operation.CONFIRM)
        )
        assert confirms == 1

    on(always("merchant_credit", Operation.CONFIRM, Refuse()), story)


def test_cancel_stops_a_try_that_is_under_way() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        await world.clock.sleep(0.5)
        began = world.clock.now()
        cancelled = await world.cancel("shop", accepted.transaction.id, CANCELLED)
        done = await settled(world, cancelled)
        assert done.state is State.FAILED
        assert done.failure == CANCELLED
        assert (world.clock.now() - began).total_seconds() < 0.1
        await world.until_settled(done.id)
        check(await world.scene(done.id))

    on(always("points_reserve", Operation.TRY, Late(3.0)), story)


def test_cancel_after_the_decision_is_refused_and_changes_nothing() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        await world.clock.sleep(0.5)
        with pytest.raises(WrongState, match="CAPTURING"):
            await world.cancel("shop", accepted.transaction.id, CANCELLED)
        done = await world.until_settled(accepted.transaction.id)
        assert done.state is State.PAID

    on(first_only("card_charge", Operation.CONFIRM, LoseReply()), story)


def first_only(phase: str, operation: Operation, fault: Fault) -> Script:
    def script(_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        here = (call.phase.name, call.operation) == (phase, operation)
        return fault if here and attempt == 1 else None

    return script


def slowed(participant: ModelParticipant) -> Callable[..., Any]:
    """Its `perform`, 10 ms slower."""
    perform = participant.perform

    async def slow(*arguments: Any) -> Outcome:
        await participant.clock.sleep(0.01)
        return await perform(*arguments)

    return slow


def test_cancel_and_capture_at_the_same_instant_have_exactly_one_winner() -> None:
    async def story(world: World) -> None:
        for participant in world.participants.values():
            participant.perform = slowed(participant)  # type: ignore[method-assign]
        won = []
        for number in range(40):
            accepted = await world.accept(payment(key=f"key-{number}"), 0.0)
            await world.clock.sleep(number * 0.001)
            try:
                await world.cancel("shop", accepted.transaction.id, CANCELLED)
                won.append(State.FAILED)
            except WrongState:
                won.append(State.PAID)
            done = await settled(world, accepted.transaction)
            assert done.state is won[-1]
            check(await world.scene(done.id))
        assert set(won) == {State.PAID, State.FAILED}

    on(no_faults, story)


def test_a_cancel_that_keeps_losing_says_so() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        commit = world.store.commit

        async def loses(change: Change) -> CommitResult:
            return LostRace() if change.after.state is State.CANCELLING else await commit(change)

        world.store.commit = loses  # type: ignore[method-assign]
        with pytest.raises(LostTheRace):
            await world.cancel("shop", accepted.transaction.id, CANCELLED)

    on(always("points_reserve", Operation.TRY, LoseRequest()), story)


def test_nobody_cancels_another_callers_payment() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        with pytest.raises(NotFound):
            await world.cancel("rival", accepted.transaction.id, CANCELLED)

    on(no_faults, story)


@pytest.mark.parametrize("written", [False, True], ids=["before COMMIT", "after COMMIT"])
@pytest.mark.parametrize("state", [State.CAPTURING, State.SETTLING, State.PAID])
def test_an_outage_of_the_database_forgets_nothing_that_was_learned(
    state: State, written: bool
) -> None:
    async def story(world: World) -> None:
        commit = world.store.commit
        failures = 3

        async def flaky(change: Change) -> CommitResult:
            nonlocal failures
            if change.after.state is state and failures:
                failures -= 1
                if written and failures == 2:
                    await commit(change)
                raise StoreUnavailable("down")
            return await commit(change)

        world.store.commit = flaky  # type: ignore[method-assign]
        accepted = await world.accept(payment(), 0.0)
        done = await settled(world, accepted.transaction)
        assert done.state is State.PAID
        assert failures == 0
        card = world.participants["card"]
        assert card.calls.count((done.id, "card_charge", Operation.CONFIRM)) == 1
        check(await world.scene(done.id))

    on(no_faults, story)


def test_an_adapter_that_raises_counts_as_unknown() -> None:
    async def story(world: World) -> None:
        perform = ModelParticipant.perform
        raised = False

        async def broken(*arguments: Any) -> Outcome:
            nonlocal raised
            if not raised:
                raised = True
                raise RuntimeError("a bug in an adapter")
            return await perform(world.participants["points"], *arguments)

        world.participants["points"].perform = broken  # type: ignore[method-assign,assignment]
        accepted = await world.accept(payment(), 0.0)
        done = await settled(world, accepted.transaction)
        assert done.state is State.PAID
        assert any(what == "adapter points" for what, _error in world.observer.troubles)

    on(no_faults, story)


def test_two_coordinators_that_drive_one_payment_do_everything_once() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        first = world.driver
        world.restart()
        world.driver.start(accepted.transaction)
        done = await world.until_settled(accepted.transaction.id)
        await first.drain(60.0)
        assert done.state is State.PAID
        check(await world.scene(done.id))

    on(no_faults, story)


def test_recovery_takes_what_there_is_room_for_and_a_few_even_without_room() -> None:
    def deaf(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        return LoseRequest() if call.phase.name == "points_reserve" else None

    async def story(world: World) -> None:
        for number in range(LEAST + 20):
            await world.accept(payment(key=f"key-{number}"), 0.0)
        await world.crash()
        await world.clock.sleep(60.0)
        world.restart()
        world.recover._max_in_flight = LEAST + 5
        assert await world.recover.run_once() == LEAST + 5
        assert await world.recover.run_once() == LEAST

    on(deaf, story)


def test_a_replay_finds_its_payment_even_though_the_order_is_taken_by_it() -> None:
    async def story(world: World) -> None:
        first = await world.accept(payment(order_id="o-1"), 0.0)
        again = await world.accept(payment(order_id="o-1"), 0.0)
        assert again.replayed
        assert again.transaction.id == first.transaction.id

    on(no_faults, story)


def test_a_reused_key_names_what_differs() -> None:
    async def story(world: World) -> None:
        await world.accept(payment(), 0.0)
        with pytest.raises(KeyReused) as caught:
            await world.accept(payment(amount=999), 0.0)
        assert caught.value.fields == ("amount.minor_units", "tenders[1].amount.minor_units")

    on(no_faults, story)


def test_cancel_previous_waits_for_the_holds_to_come_back() -> None:
    async def story(world: World) -> None:
        first = await world.accept(payment(order_id="o-1"), 0.0)
        await world.clock.sleep(0.5)
        second = await world.accept(
            payment(key="key-2", order_id="o-1", on_conflict=OrderConflict.CANCEL_PREVIOUS), 30.0
        )
        found = await world.store.get(first.transaction.id)
        assert found is not None
        assert found.state is State.FAILED
        assert found.failure == Failure(
            "ORDER_SUPERSEDED", "the order is being paid by a newer payment"
        )
        assert second.transaction.id != first.transaction.id

    def script(_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        slow = (call.phase.name, call.operation) == ("points_reserve", Operation.TRY)
        return Late(2.5) if slow and attempt == 1 else None

    on(script, story)


def test_a_decided_payment_is_not_superseded() -> None:
    async def story(world: World) -> None:
        first = await world.accept(payment(order_id="o-1"), 0.0)
        await world.clock.sleep(0.5)
        with pytest.raises(OrderHasPayment, match=first.transaction.id):
            await world.accept(
                payment(key="key-2", order_id="o-1", on_conflict=OrderConflict.CANCEL_PREVIOUS),
                5.0,
            )

    on(always("card_charge", Operation.CONFIRM, LoseRequest()), story)


def test_a_payment_that_keeps_losing_its_order_says_so() -> None:
    async def story(world: World) -> None:
        first = await world.accept(payment(order_id="o-1"), 0.0)

        async def taken(_change: Change) -> CommitResult:
            return OrderTaken(first.transaction.id)

        async def cancelled(*_arguments: object) -> Transaction:
            return first.transaction

        accept = world.accept
        accept._store.commit = taken  # type: ignore[method-assign,assignment]
        accept._cancel = cancelled  # type: ignore[assignment]
        new = payment(key="key-2", order_id="o-1", on_conflict=OrderConflict.CANCEL_PREVIOUS)
        with pytest.raises(LostTheRace):
            await accept(new, 0.0)

    on(no_faults, story)


def test_the_servers_limit_is_for_the_whole_payment() -> None:
    async def story(world: World) -> None:
        assert isinstance(world.accept, Accept)
        with pytest.raises(InvalidRequest) as caught:
            await world.accept(payment(amount=10**9 + 1), 0.0)
        assert [item.code for item in caught.value.violations] == ["AMOUNT_OVER_LIMIT"]

    on(no_faults, story)


def test_following_a_payment_gives_growing_versions_to_the_end() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        async with aclosing(world.driver.updates.follow(accepted.transaction)) as changes:
            seen = [change async for change in changes]
        versions = [change.version for change in seen]
        assert versions == sorted(set(versions))
        assert seen[-1].state is State.PAID
        assert world.driver.updates.waiting == 0

    on(no_faults, story)


def test_a_payment_that_is_driven_elsewhere_is_followed_by_reading() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        world.restart()  # the new coordinator does not drive it; the old one still does
        done = await settled(world, accepted.transaction)
        assert done.state is State.PAID

    on(first_only("points_reserve", Operation.TRY, LoseRequest()), story)


def test_waiting_ends_at_its_limit_with_the_payment_as_it_stands() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        began = world.clock.now()
        found = await world.driver.updates.at_rest(accepted.transaction, 1.5)
        assert not found.settled
        assert (world.clock.now() - began).total_seconds() == pytest.approx(1.5)

    on(always("points_reserve", Operation.TRY, LoseRequest()), story)


def test_events_wait_for_the_broker_and_arrive_once() -> None:
    async def story(world: World) -> None:
        world.publisher.available = False
        for number in range(3):
            accepted = await world.accept(payment(key=f"key-{number}"), 0.0)
            await settled(world, accepted.transaction)
        assert await world.relay.run_once() == 0
        assert await world.relay.run_once() == 0
        world.publisher.available = True
        await world.clock.sleep(6.0)
        assert await world.relay.run_once() == 3
        assert await world.relay.run_once() == 0
        assert len(world.publisher.events) == 3

    on(no_faults, story)


def test_a_drain_ends_every_task_and_the_next_process_goes_on() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        await world.driver.drain(0.5)
        assert world.driver.in_flight == 0
        world.restart()
        done = await world.until_settled(accepted.transaction.id)
        assert world.participants["points"].records[done.id, "points_reserve"] is Held.CONFIRMED

    on(first_only("card_charge", Operation.CONFIRM, LoseRequest()), story)


def test_a_background_service_outlives_its_errors() -> None:
    async def story(world: World) -> None:
        passes = 0

        async def once() -> int:
            nonlocal passes
            passes += 1
            if passes == 2:
                raise RuntimeError("a bad pass")
            return 0

        service = Periodic("test", once, interval_s=1.0, clock=world.clock, observer=world.observer)
        task = asyncio.create_task(service.run())
        await world.clock.sleep(3.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert passes == 4
        assert [what for what, _error in world.observer.troubles] == ["test"]

    on(no_faults, story)


def test_a_program_that_can_never_end_is_found() -> None:
    async def program() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Idle):
        run(program())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4242424242424242", True),
        ("4242-4242-4242-4242", True),
        ("378282246310005", True),
        ("4242424242424241", False),
        ("tok_4242424242424242", True),
        ("4111:1111:1111:1111", True),
        ("x4111111111111111x", True),
        ("4111111111111111-1", True),
        ("tok_1PxYz8731-4242", False),
        ("alice", False),
        ("12345678901", False),
        ("", False),
    ],
)
def test_card_numbers_are_recognised_by_their_check_digit(text: str, expected: bool) -> None:
    assert has_card_number(text) is expected


def test_a_repeat_gets_its_payment_even_after_limits_and_flows_have_changed() -> None:
    async def story(world: World) -> None:
        first = await world.accept(payment(), 0.0)
        await settled(world, first.transaction)
        world.accept._max_amount_minor = 10
        again = await world.accept(payment(), 0.0)
        assert again.replayed
        assert again.transaction.state is State.PAID
        world.accept._flows = {}
        assert (await world.accept(payment(), 0.0)).transaction == again.transaction
        with pytest.raises(KeyReused):
            await world.accept(payment(amount=999), 0.0)
        with pytest.raises(InvalidRequest):
            await world.accept(payment(key="new"), 0.0)

    on(no_faults, story)


def test_a_creation_whose_answer_was_lost_is_driven_when_the_caller_repeats_it() -> None:
    async def story(world: World) -> None:
        commit = world.store.commit

        async def deaf(change: Change) -> CommitResult:
            await commit(change)
            raise StoreUnavailable("the answer was lost")

        world.store.commit = deaf  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            await world.accept(payment(), 0.0)
        world.store.commit = commit  # type: ignore[method-assign]
        again = await world.accept(payment(), 0.0)
        assert again.replayed
        assert (await settled(world, again.transaction)).state is State.PAID

    on(no_faults, story)


def test_a_caller_who_goes_away_during_the_first_commit_leaves_a_payment_that_is_driven() -> None:
    async def story(world: World) -> None:
        calling = asyncio.create_task(world.accept(payment(), 0.0))

        def go_away(_change: Change) -> None:
            calling.cancel()

        world.store.before_commit = go_away
        await asyncio.gather(calling, return_exceptions=True)
        assert calling.cancelled()
        again = await world.accept(payment(), 0.0)
        assert again.replayed
        assert (await settled(world, again.transaction)).state is State.PAID

    on(no_faults, story)


def test_a_claim_that_its_own_process_renews_costs_no_call() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        await world.clock.sleep(0.5)
        world.store._lease_s = 0.01
        for _ in range(3):
            await world.clock.sleep(0.3)
            await world.recover.run_once()
        done = await settled(world, accepted.transaction)
        assert done.state is State.PAID
        asked = world.participants["card"].calls
        assert asked.count((done.id, "card_charge", Operation.CONFIRM)) == 2
        check(await world.scene(done.id))

    on(first_only("card_charge", Operation.CONFIRM, LoseReply()), story)


def test_what_a_waiter_sees_never_goes_back() -> None:
    async def story(world: World) -> None:
        accepted = await world.accept(payment(), 0.0)
        slow = world.driver  # it still believes in version 1
        world.restart()
        cancelled = await world.cancel("shop", accepted.transaction.id, CANCELLED)
        seen = await slow.updates.at_rest(cancelled, 0.0)
        assert seen.version >= cancelled.version
        async with aclosing(slow.updates.follow(cancelled)) as changes:
            versions = [change.version async for change in changes]
        assert versions[0] >= cancelled.version
        assert versions == sorted(set(versions))

    on(always("points_reserve", Operation.TRY, LoseRequest()), story)


def test_one_event_that_cannot_be_published_holds_up_nobody_else() -> None:
    async def story(world: World) -> None:
        made = [await world.accept(payment(key=f"key-{n}"), 0.0) for n in range(3)]
        for accepted in made:
            await settled(world, accepted.transaction)
        publish = world.publisher.publish

        async def picky(event: OutboxEvent) -> None:
            if event.transaction_id == made[1].transaction.id:
                raise RuntimeError("a bug in a library")
            await publish(event)

        world.publisher.publish = picky  # type: ignore[method-assign]
        assert await world.relay.run_once() == 2
        assert any(what == "publish" for what, _error in world.observer.troubles)

    on(no_faults, story)
