"""Chapters of `kessai demo` about reservations: captured, cancelled, expired."""

from __future__ import annotations

from datetime import timedelta

from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.show import state_name
from coordinator.cli.telling import (
    Told,
    World,
    expect,
    expect_failed,
    expect_paid,
    pay,
    refusal,
    request,
    yen_of,
)

RESERVE_S = 2.0
"""How long the reservation that nobody captures lasts."""


def reserve(world: World, key: str, lasting_s: float = 60.0) -> pb.Payment:
    """600 points and 400 yen by card that wait, held everywhere, to be captured."""
    asked = request(key, card="tok_ok", yen=400)
    asked.capture = pb.CAPTURE_MODE_MANUAL
    asked.reserve_for.FromTimedelta(timedelta(seconds=lasting_s))
    payment = pay(world, asked).payment
    state = state_name(payment)
    expect(state == "RESERVED", f"expected RESERVED, got {state} {payment.failure.code}")
    for name, effect in world.effects(payment.payment_id).items():
        expect(
            effect.holds_open == 1 and effect.confirms == 0,
            f"{name} should hold its part and have moved nothing: {effect}",
        )
    return payment


def capture(
    world: World, payment: pb.Payment, key: str, minor: int | None = None
) -> pb.CapturePaymentResponse:
    """Takes so much of the payment, pro rata; None for all of it."""
    return world.client.capture(
        pb.CapturePaymentRequest(
            payment_id=payment.payment_id,
            idempotency_key=key,
            amount=None if minor is None else yen_of(minor),
        )
    )


def captured_in_part(world: World) -> str:
    """Less is taken than was held."""
    payment = reserve(world, "demo-part")
    first = capture(world, payment, "demo-part-capture", 700)
    expect_paid(world, Told(first.payment, first.replayed, 0.0), 420, 280)
    again = capture(world, payment, "demo-part-capture", 700)
    expect(again.replayed, "the second call should have found the first one's capture")
    expect_paid(world, Told(again.payment, again.replayed, 0.0), 420, 280)
    refusal(lambda: capture(world, payment, "demo-part-other"), "ALREADY_CAPTURED")
    return (
        "RESERVED, then 700 JPY captured: 420 points, 280 JPY by card. The other 180 points and "
        "120 JPY are free again. Repeated with its key: the same answer; with another one: "
        "ALREADY_CAPTURED."
    )


def reserved_and_cancelled(world: World) -> str:
    """The caller thinks better of it."""
    payment = reserve(world, "demo-cancelled")
    ended = world.client.cancel(payment.payment_id, "the customer left")
    expect_failed(world, Told(ended, replayed=False, took_s=0.0), "CANCELLED_BY_CALLER")
    return "FAILED with CANCELLED_BY_CALLER; the points, the card and the merchant hold nothing."


def reservation_expires(world: World) -> str:
    """Nobody captures it in time, and somebody comes too late."""
    payment = reserve(world, "demo-expired", RESERVE_S)
    *_, ended = world.client.watch(payment.payment_id)
    expect_failed(world, Told(ended, replayed=False, took_s=0.0), "RESERVATION_EXPIRED")
    late = refusal(lambda: capture(world, payment, "demo-too-late"), "PAYMENT_RELEASED")
    expect_failed(world, Told(ended, replayed=False, took_s=0.0), "RESERVATION_EXPIRED")
    return (
        f"FAILED with RESERVATION_EXPIRED after {RESERVE_S:g} s, and nothing is held. A capture "
        f"that came later was refused with {late.code}."
    )
