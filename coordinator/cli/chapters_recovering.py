"""Chapters of `kessai demo` about what stops and comes back: a participant, the coordinator."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.admin_client import AdminClient
from coordinator.cli.chapters_reserving import capture, reserve
from coordinator.cli.client import Client
from coordinator.cli.failures import Failure
from coordinator.cli.show import state_name
from coordinator.cli.stack import COORDINATOR
from coordinator.cli.telling import Told, World, expect, expect_paid, request

CALL_S = 20.0
PATIENCE_S = 3.0
"""How long a caller waits while a participant is away, in seconds."""
CROWD = 200
FEW = 8
CROWD_CUSTOMER = "crowd"
"""The customer of all the payments under which the coordinator is killed."""
CROWD_LIMIT_S = 60.0
SETTINGS = {
    # How long the coordinator's claims last: what it takes to notice that it was killed.
    "KESSAI_LEASE_S": "5",
    # The crowd's cards are all slow once. Where the kill comes before most of them were asked, a
    # breaker would take that for an outage and try one of them each five seconds.
    "KESSAI_PARTICIPANT_LIMITS": '{"card": {"breaker_failures": 0}}',
}
"""The coordinator's settings in the demo."""


def participant_stops(world: World) -> str:
    """The points service is away when its part is to become final."""
    stack = world.stack
    payments = [reserve(world, f"demo-stopped-{number}") for number in range(3)]
    stack.children["points"].stop(CALL_S)
    with Client(stack.address, stack.keys.api_key, PATIENCE_S) as caller:
        hasty = World(caller, world.ledgers, world.clock, stack)
        for payment in payments:
            left = capture(hasty, payment, f"{payment.payment_id}-capture").payment
            expect(state_name(left) == "SETTLING", f"expected SETTLING, got {state_name(left)}")
    payment_id = payments[0].payment_id
    with AdminClient(stack.admin_address, stack.keys.operator_key, CALL_S) as operator:
        waits = operator.explain(payment_id, 0).waits
    expect(bool(waits), f"`tx explain {payment_id}` should say what it waits for")
    stack.restart("points")
    for payment in payments:
        *_, ended = world.client.watch(payment.payment_id)
        expect_paid(world, Told(ended, replayed=False, took_s=0.0), 600, 400)
    return (
        "The points service was stopped; three captured payments waited in SETTLING. kessai tx "
        f"explain says: “{waits[0].sentence}” It came back, and all three were PAID by themselves."
    )


def coordinator_killed(world: World) -> str:
    """The coordinator is killed with many payments under way."""
    stack, keys = world.stack, world.stack.keys
    with ThreadPoolExecutor(max_workers=FEW) as few:
        # Not all at once: what a slow machine would make of that is another story.
        reserved = list(few.map(world.client.create, map(_of_crowd, range(CROWD))))
    with ThreadPoolExecutor(max_workers=CROWD) as pool:
        with Client(stack.address, keys.api_key, CALL_S) as caller:
            asked = [_capture_of(answer.payment.payment_id) for answer in reserved]
            calls = [pool.submit(_unless_cut_off, caller, each) for each in asked]
            _until_decided(world)
            stack.children[COORDINATOR].kill()
        answered = sum(call.result() for call in calls)
    killed = world.clock.now()
    stack.restart(COORDINATOR)
    with Client(stack.address, keys.api_key, CALL_S) as caller:
        ended = [caller.capture(each).payment for each in asked]
    took_s = (world.clock.now() - killed).total_seconds()
    _reconnected(world)
    states = {state_name(payment) for payment in ended}
    expect(states == {"PAID"}, f"all should be PAID, but they are {', '.join(sorted(states))}")
    return (
        f"Killed with {CROWD} payments being captured, {answered} of which were answered. Asked "
        f"for again with the same keys: {took_s:.1f} s later all {CROWD} are PAID, each once."
    )


def _of_crowd(number: int) -> pb.CreatePaymentRequest:
    """One point and one yen, to be captured, by a card whose capture is slow to answer."""
    card = f"tok_timeout_after_capture-{number}"
    asked = request(f"demo-crowd-{number}", points=1, card=card, yen=1)
    asked.capture = pb.CAPTURE_MODE_MANUAL
    asked.customer_id = CROWD_CUSTOMER
    return asked


def _capture_of(payment_id: str) -> pb.CapturePaymentRequest:
    return pb.CapturePaymentRequest(payment_id=payment_id, idempotency_key=f"{payment_id}-capture")


def _unless_cut_off(caller: Client, asked: pb.CapturePaymentRequest) -> bool:
    """Whether the call was answered."""
    try:
        caller.capture(asked)
    except Failure:
        return False
    return True


def _until_decided(world: World) -> None:
    """Until the capture of the whole crowd is durable."""
    undecided = pb.ListPaymentsRequest(
        customer_id=CROWD_CUSTOMER, states=[pb.PAYMENT_STATE_CREATED, pb.PAYMENT_STATE_RESERVED]
    )
    limit = world.clock.now() + timedelta(seconds=CROWD_LIMIT_S)
    while world.client.search(undecided, limit=1):
        expect(world.clock.now() < limit, "the crowd's captures were not accepted in time")
        asyncio.run(world.clock.sleep(0.05))


def _reconnected(world: World) -> None:
    """Until the story's own connection has noticed that the coordinator is back."""
    limit = world.clock.now() + timedelta(seconds=CROWD_LIMIT_S)
    while True:
        try:
            world.client.search(pb.ListPaymentsRequest(), limit=1)
        except Failure:
            expect(world.clock.now() < limit, "the coordinator did not come back in time")
            asyncio.run(world.clock.sleep(0.05))
        else:
            return
