"""Chapters of `kessai demo` about refunds: transactions of their own that give payments back."""

from __future__ import annotations

from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.show import refund_state, state_name
from coordinator.cli.telling import (
    World,
    expect,
    expect_paid,
    pay,
    refusal,
    request,
    yen_of,
)

POOR_SHOP = "shop-2"
CARD_FIRST = pb.Split(in_order=pb.Split.InOrder(methods=["card_charge", "points_reserve"]))


def refund(
    world: World,
    payment: pb.Payment,
    key: str,
    minor: int | None = None,
    split: pb.Split | None = None,
) -> pb.Refund:
    """Gives so much of the payment back; None for all that is left."""
    answer = world.client.refund(
        pb.CreateRefundRequest(
            payment_id=payment.payment_id,
            idempotency_key=key,
            amount=None if minor is None else yen_of(minor),
            split=split,
        )
    )
    return answer.refund


def expect_refunded(world: World, made: pb.Refund, points: int, yen: int) -> None:
    """It SUCCEEDED, and each ledger gave its part back exactly once."""
    state = refund_state(made)
    expect(state == "SUCCEEDED", f"expected SUCCEEDED, got {state} {made.failure.code}")
    moved = {"points": points, "card": yen, "merchant": points + yen}
    for name, effect in world.effects(made.refund_id).items():
        expect(
            effect.refunds == (1 if moved[name] else 0)
            and effect.refunded_minor == moved[name]
            and effect.holds_open == 0,
            f"{name} should have given {moved[name]:,} back once: {effect}",
        )


def refunded_in_parts(world: World) -> str:
    """Twice a part, divided in two ways, then the rest."""
    told = pay(world, request("demo-refunded", card="tok_ok", yen=400))
    expect_paid(world, told, 600, 400)
    expect_refunded(world, refund(world, told.payment, "demo-refund-1", 250), 150, 100)
    by_card = refund(world, told.payment, "demo-refund-2", 350, CARD_FIRST)
    expect_refunded(world, by_card, 50, 300)
    kept = world.client.get(told.payment.payment_id)
    expect(
        state_name(kept) == "PAID" and kept.refunded_amount == yen_of(600),
        f"the payment should be PAID with 600 given back: {kept}",
    )
    expect_refunded(world, refund(world, told.payment, "demo-refund-3"), 400, 0)
    ended = world.client.get(told.payment.payment_id)
    expect(
        state_name(ended) == "REFUNDED" and ended.refunded_amount == yen_of(1000),
        f"the payment should be REFUNDED with 1,000 given back: {ended}",
    )
    return (
        "250 JPY pro rata: 150 points, 100 by card. 350 JPY to the card first: the card's other "
        "300, then 50 points. Then the rest, 400 points: the payment is REFUNDED."
    )


def refunded_too_much(world: World) -> str:
    """More than is left."""
    told = pay(world, request("demo-too-much", points=300))
    expect_paid(world, told, 300, 0)
    expect_refunded(world, refund(world, told.payment, "demo-too-much-1", 200), 200, 0)
    failure = refusal(
        lambda: refund(world, told.payment, "demo-too-much-2", 101), "REFUND_EXCEEDS_PAYMENT"
    )
    made = world.client.refunds(told.payment.payment_id)
    expect(len(made) == 1, f"the payment has {len(made)} refunds")
    return f"200 of 300 JPY given back; 101 more were refused with {failure.code}."


def merchant_cannot_pay(world: World) -> str:
    """The merchant's money has gone to its bank."""
    told = pay(world, request("demo-poor", points=500, merchant=POOR_SHOP))
    expect_paid(world, told, 500, 0)
    world.ledgers.pay_out(POOR_SHOP, 400, told.payment.payment_id)
    made = refund(world, told.payment, "demo-poor-refund", 250)
    expect(
        refund_state(made) == "FAILED" and made.failure.code == "INSUFFICIENT_BALANCE",
        f"expected FAILED INSUFFICIENT_BALANCE, got {refund_state(made)} {made.failure.code}",
    )
    for name, effect in world.effects(made.refund_id).items():
        expect(
            effect.refunds == 0 and effect.holds_open == 0,
            f"{name} should have given nothing back and hold nothing: {effect}",
        )
    expect(
        world.ledgers.effect("points", made.refund_id).tries_seen == 0,
        "the wallet should never have been asked",
    )
    expect_refunded(world, refund(world, told.payment, "demo-poor-less", 100), 100, 0)
    return (
        "400 of its 500 JPY were paid out to the merchant's bank. A refund of 250 FAILED, in the "
        f"merchant service's words: “{made.failure.reason}” One of 100 SUCCEEDED."
    )
