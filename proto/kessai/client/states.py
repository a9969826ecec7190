"""What a payment's or refund's state means to whoever waits for it."""

from __future__ import annotations

from kessai.payments.v1 import payments_pb2 as pb

_SETTLED_PAYMENTS = frozenset(
    {pb.PAYMENT_STATE_PAID, pb.PAYMENT_STATE_FAILED, pb.PAYMENT_STATE_REFUNDED}
)
_SETTLED_REFUNDS = frozenset({pb.REFUND_STATE_SUCCEEDED, pb.REFUND_STATE_FAILED})


def state_name(thing: pb.Payment | pb.Refund) -> str:
    """The state in one word: PAID, FAILED, SUCCEEDED … UNKNOWN(n) for one of a newer server."""
    prefix, names = (
        ("PAYMENT_STATE_", pb.PaymentState)
        if isinstance(thing, pb.Payment)
        else ("REFUND_STATE_", pb.RefundState)
    )
    try:
        return str(names.Name(thing.state)).removeprefix(prefix)
    except ValueError:
        return f"UNKNOWN({int(thing.state)})"


def is_settled(thing: pb.Payment | pb.Refund) -> bool:
    """Whether nothing moves by itself any more."""
    settled = _SETTLED_PAYMENTS if isinstance(thing, pb.Payment) else _SETTLED_REFUNDS
    return thing.state in settled


def next_actions(payment: pb.Payment) -> list[pb.NextAction]:
    """What the customer has to do before the payment can go on."""
    return [step.next_action for step in payment.steps if step.HasField("next_action")]


def waits_for_somebody(payment: pb.Payment) -> bool:
    """Whether it waits for its capture (capture MANUAL), or for the customer (`next_actions`)."""
    held = payment.state == pb.PAYMENT_STATE_RESERVED
    return (held and payment.capture == pb.CAPTURE_MODE_MANUAL) or bool(next_actions(payment))
