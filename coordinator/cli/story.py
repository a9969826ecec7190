"""The chapters of `kessai demo`: what is asked for, and what must come of it.

A chapter returns one or two sentences about what came back, and raises `NotAsTold` when the reply
or, more to the point, a participant's own ledger says otherwise. A test adds chapters of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from kessai.payments.v1 import payments_pb2 as pb

from adapters.system import SystemClock
from coordinator.cli.client import Client
from coordinator.cli.failures import Failure
from coordinator.cli.ledgers import Effect, Ledgers
from coordinator.cli.show import state_name

CURRENCY = "JPY"
AT_ONCE_S = 2.0
LATE_TRY_S = 7.0
"""How late the card service gets a Try with tok_late_try: later than a payment waits for it."""
LATE_TRY_LIMIT_S = 20.0


class NotAsTold(Exception):
    """A chapter did not end as it should."""


@dataclass(frozen=True)
class World:
    """What a chapter works with."""

    client: Client
    ledgers: Ledgers
    clock: SystemClock

    def effects(self, payment_id: str) -> dict[str, Effect]:
        """What the payment did at each participant."""
        return {
            name: self.ledgers.effect(name, payment_id) for name in ("points", "card", "merchant")
        }


@dataclass(frozen=True)
class Chapter:
    """One part of the story."""

    title: str
    tell: Callable[[World], str]


@dataclass(frozen=True)
class Told:
    """A payment and how long the reply took, in seconds."""

    payment: pb.Payment
    replayed: bool
    took_s: float


def expect(holds: bool, otherwise: str) -> None:
    """Raises NotAsTold with `otherwise` unless it holds."""
    if not holds:
        raise NotAsTold(otherwise)


def request(
    key: str,
    *,
    wallet: str = "alice",
    points: int = 600,
    card: str = "",
    yen: int = 0,
    order: str = "",
) -> pb.CreatePaymentRequest:
    """A payment to shop-1 by points, by card, or by both; amounts in minor units."""
    parts = (("points_reserve", wallet, points), ("card_charge", card, yen))
    tenders = [
        pb.Tender(
            method=method,
            source=source,
            amount=pb.Money(currency_code=CURRENCY, minor_units=amount),
        )
        for method, source, amount in parts
        if amount
    ]
    return pb.CreatePaymentRequest(
        idempotency_key=key,
        flow="points_and_card" if yen and points else "card_only" if yen else "points_only",
        amount=pb.Money(currency_code=CURRENCY, minor_units=points + yen),
        tenders=tenders,
        merchant_id="shop-1",
        order_id=order,
        order_conflict=pb.ORDER_CONFLICT_REJECT,
    )


def pay(world: World, asked: pb.CreatePaymentRequest) -> Told:
    """Creates the payment."""
    start = world.clock.now()
    answer = world.client.create(asked)
    took_s = (world.clock.now() - start).total_seconds()
    return Told(answer.payment, answer.replayed, took_s)


def expect_paid(world: World, told: Told, points: int, yen: int) -> None:
    """It is PAID, and each ledger moved its amount exactly once."""
    payment = told.payment
    state = state_name(payment)
    expect(state == "PAID", f"expected PAID, got {state} {payment.failure.code}")
    moved = {"points": points, "card": yen, "merchant": points + yen}
    for name, effect in world.effects(payment.payment_id).items():
        expect(
            effect.confirms == (1 if moved[name] else 0)
            and effect.confirmed_minor == moved[name]
            and effect.holds_open == 0,
            f"{name} should have moved {moved[name]:,} once: {effect}",
        )


def expect_failed(world: World, told: Told, code: str) -> None:
    """It is FAILED for this reason, and no ledger moved or holds anything."""
    payment = told.payment
    state = state_name(payment)
    expect(
        state == "FAILED" and payment.failure.code == code,
        f"expected FAILED {code}, got {state} {payment.failure.code}",
    )
    for name, effect in world.effects(payment.payment_id).items():
        expect(
            effect.confirms == 0 and effect.holds_open == 0,
            f"{name} should have moved and hold nothing: {effect}",
        )


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
    try:
        told = pay(world, request("demo-twice", points=301))
    except Failure as failure:
        expect(failure.code == "IDEMPOTENCY_KEY_REUSED", f"got {failure.code}")
        return f"Refused with {failure.code}: {failure.message}."
    raise NotAsTold(f"a second payment was made: {told.payment.payment_id}")


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


CHAPTERS = (
    Chapter("600 points and 400 yen by card", both),
    Chapter("600 points from a wallet that has 50", points_short),
    Chapter("A card that its bank declines", card_declined),
    Chapter("A capture whose answer is lost after it was done", reply_lost),
    Chapter("A Try that times out, and arrives after all was released", try_times_out),
    Chapter("The same idempotency key twice", same_key),
    Chapter("The same idempotency key with another amount", key_reused),
    Chapter("Two payments for one order at once", one_order),
)
