"""What the chapters of `kessai demo` are told with: requests, and what must come of them.

A chapter returns one or two sentences about what came back, and raises `NotAsTold` when the reply
or, more to the point, a participant's own ledger says otherwise. A test adds chapters of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kessai.payments.v1 import payments_pb2 as pb

from adapters.system import SystemClock
from coordinator.cli.client import Client
from coordinator.cli.failures import Failure
from coordinator.cli.ledgers import CURRENCY, Effect, Ledgers
from coordinator.cli.show import state_name
from coordinator.cli.stack import Stack

SHOP = "shop-1"


class NotAsTold(Exception):
    """A chapter did not end as it should."""


@dataclass(frozen=True)
class World:
    """What a chapter works with."""

    client: Client
    ledgers: Ledgers
    clock: SystemClock
    stack: Stack

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


def yen_of(minor: int) -> pb.Money:
    """An amount in the story's currency."""
    return pb.Money(currency_code=CURRENCY, minor_units=minor)


def request(
    key: str,
    *,
    wallet: str = "alice",
    points: int = 600,
    card: str = "",
    yen: int = 0,
    order: str = "",
    merchant: str = SHOP,
) -> pb.CreatePaymentRequest:
    """A payment by points, by card, or by both; amounts in minor units."""
    parts = (("points_reserve", wallet, points), ("card_charge", card, yen))
    tenders = [
        pb.Tender(method=method, source=source, amount=yen_of(amount))
        for method, source, amount in parts
        if amount
    ]
    return pb.CreatePaymentRequest(
        idempotency_key=key,
        flow="points_and_card" if yen and points else "card_only" if yen else "points_only",
        amount=yen_of(points + yen),
        tenders=tenders,
        merchant_id=merchant,
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


def refusal(call: Callable[[], object], code: str) -> Failure:
    """What the server refused the call with, by this code. Raises NotAsTold for anything else."""
    try:
        answer = call()
    except Failure as failure:
        expect(failure.code == code, f"expected {code}, got {failure.code}: {failure}")
        return failure
    raise NotAsTold(f"expected {code}, got {answer}")


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
