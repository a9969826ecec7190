"""Chapters of `kessai demo` about payments that are taken at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.failures import Failure
from coordinator.cli.show import next_actions, state_name
from coordinator.cli.telling import (
    Told,
    World,
    expect,
    expect_failed,
    expect_paid,
    pay,
    refusal,
    request,
)

AT_ONCE_S = 2.0
LATE_TRY_S = 7.0
"""How late the card service gets a Try with tok_late_try: later than a payment waits for it."""
LATE_TRY_LIMIT_S = 20.0


def both(world: World) -> str:
    """Points and a card pay together."""
    told = pay(world, request("demo-both", card="tok_ok", yen=400))
    expect_paid(world, told, 600, 400)
    return f"PAID in {told.took_s:.2f} s: 600 points burned, 400 JPY captured, 1,000 JPY credited"


def points_short(world: World) -> str:
    """The wallet has too little."""
    told = pay(world, request("demo-short", wallet="bob", card="tok_ok", yen=400))
    expect_failed(world, told, "INSUFFICIENT_POINTS")
    expect(told.took_s < AT_ONCE_S, f"the answer took {told.took_s:.1f} s")
    card = world.ledgers.effect("card", told.payment.payment_id)
    expect(card.tries_seen == 0, f"the card should never have been asked: {card}")
    return (
        f"FAILED in {told.took_s:.2f} s, in the points service's words: "
        f"“{told.payment.failure.reason}” The card was never asked."
    )


def card_declined(world: World) -> str:
    """The bank says no after points were held."""
    told = pay(world, request("demo-declined", card="tok_declined", yen=400))
    expect_failed(world, told, "CARD_DECLINED")
    points = world.ledgers.effect("points", told.payment.payment_id)
    expect(points.holds_ever == 1, f"600 points should have been held and released: {points}")
    return (
        f"FAILED in {told.took_s:.2f} s: “{told.payment.failure.reason}” "
        "The 600 points that were held are free again."
    )


def reply_lost(world: World) -> str:
    """The capture is done, but its answer never arrives."""
    told = pay(world, request("demo-lost", card="tok_timeout_after_capture", yen=400))
    expect_paid(world, told, 600, 400)
    outcomes = [
        entry.outcome
        for entry in world.client.journal(told.payment.payment_id)
        if entry.phase == "card_charge" and entry.operation != "try"
    ]
    expect(
        "unknown" in outcomes and outcomes[-1] == "applied",
        f"the first capture's answer should have been lost: {outcomes}",
    )
    return (
        f"PAID in {told.took_s:.2f} s: the capture was {', then '.join(outcomes)}; "
        "the card's ledger has one charge of 400 JPY."
    )


def try_times_out(world: World) -> str:
    """The card service gets the Try only when everything is long over."""
    told = pay(world, request("demo-late", card="tok_late_try", yen=400))
    expect_failed(world, told, "TRY_DEADLINE_EXCEEDED")
    payment_id = told.payment.payment_id
    limit = world.clock.now() + timedelta(seconds=LATE_TRY_LIMIT_S)
    while not (card := world.ledgers.effect("card", payment_id)).tries_seen:
        expect(world.clock.now() < limit, "the late Try never arrived at the card service")
        asyncio.run(world.clock.sleep(0.05))
    expect(card.holds_ever == 0, f"the late Try should hold nothing: {card}")
    expect_failed(world, told, "TRY_DEADLINE_EXCEEDED")
    return (
        f"FAILED after {told.took_s:.1f} s: “{told.payment.failure.reason}” Everything was "
        "released; then the late Try arrived, found its Cancel, and holds nothing."
    )


def same_key(world: World) -> str:
    """The same request twice."""
    asked = request("demo-twice", points=300)
    first, second = pay(world, asked), pay(world, asked)
    expect_paid(world, first, 300, 0)
    same = first.payment.payment_id == second.payment.payment_id
    expect(same and second.replayed, "the second call should have found the first one's payment")
    expect_paid(world, second, 300, 0)
    return "Both calls got the same PAID payment; 300 points were burned once."


def key_reused(world: World) -> str:
    """The same key for something else."""
    asked = request("demo-twice", points=301)
    failure = refusal(lambda: pay(world, asked), "IDEMPOTENCY_KEY_REUSED")
    return f"Refused with {failure.code}: {failure.message}."


def customer_acts(world: World) -> str:
    """The card's bank wants the customer to agree first."""
    told = pay(world, request("demo-customer", card="tok_customer_action", yen=400))
    actions = next_actions(told.payment)
    expect(
        state_name(told.payment) == "CREATED" and len(actions) == 1,
        f"the payment should wait for its customer: {told.payment}",
    )
    expect(told.took_s < AT_ONCE_S, f"the answer took {told.took_s:.1f} s")
    *_, ended = world.client.watch(told.payment.payment_id)
    expect_paid(world, Told(ended, replayed=False, took_s=0.0), 600, 400)
    [(_, action)] = actions
    return (
        f"Answered in {told.took_s:.2f} s: the customer has to agree ({action.kind} to "
        f"{action.url}). A second later they did, and the payment went on by itself and was PAID."
    )


def one_order(world: World) -> str:
    """Two tills pay the same order at the same moment."""
    together = threading.Barrier(2, timeout=10)

    def till(number: int) -> Told | Failure:
        together.wait()
        try:
            return pay(world, request(f"demo-till-{number}", points=200, order="order-17"))
        except Failure as failure:
            return failure

    with ThreadPoolExecutor(max_workers=2) as pool:
        answers = list(pool.map(till, (1, 2)))
    paid = [answer for answer in answers if isinstance(answer, Told)]
    refused = [answer for answer in answers if isinstance(answer, Failure)]
    expect(
        len(paid) == 1 and [item.code for item in refused] == ["ORDER_HAS_PAYMENT"],
        f"expected one payment and one ORDER_HAS_PAYMENT, got {answers}",
    )
    expect_paid(world, paid[0], 200, 0)
    there = world.client.search(pb.ListPaymentsRequest(order_id="order-17"), limit=10)
    expect(len(there) == 1, f"the order has {len(there)} payments")
    return "One till got a PAID payment, the other ORDER_HAS_PAYMENT; 200 points were burned once."
