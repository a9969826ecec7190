"""A checkout: 600 points and 400 yen by card; then one whose card is declined.

Shows how a payment over two methods is created, how a refusal is told (it is data, not an error),
and what a caller's mistake looks like. Prints three lines:

    order …: PAID, 600 by points_reserve and 400 by card_charge
    order …: FAILED, CARD_DECLINED: … (the sentence for the payer)
    not accepted: tenders TENDERS_DO_NOT_ADD_UP: …

Needs KESSAI_ADDRESS and KESSAI_API_KEY, as `make up` prints them.
"""

from __future__ import annotations

import os
import uuid

import kessai
from kessai.payments.v1 import payments_pb2 as pb


def pay(client: kessai.Client, order_id: str, card: str, points: int, yen: int) -> pb.Payment:
    """Pays 1,000 yen for an order. A shop keeps the key with the order, to be able to ask again."""
    return client.create_payment(
        flow="points_and_card",
        amount=kessai.yen(1000),
        tenders=[
            kessai.tender("points_reserve", "alice", kessai.yen(points)),
            kessai.tender("card_charge", card, kessai.yen(yen)),
        ],
        merchant_id="shop-1",
        order_id=order_id,
        idempotency_key=f"{order_id}-attempt-1",
    )


def told(payment: pb.Payment) -> str:
    """The outcome in one line."""
    state = kessai.state_name(payment)
    if state == "FAILED":
        return f"{state}, {payment.failure.code}: {payment.failure.reason}"
    parts = [f"{tender.amount.minor_units} by {tender.method}" for tender in payment.tenders]
    return f"{state}, {' and '.join(parts)}"


def main() -> None:
    """Three customers at the checkout."""
    address, api_key = os.environ["KESSAI_ADDRESS"], os.environ["KESSAI_API_KEY"]
    with kessai.Client(address, api_key=api_key) as client:
        for card in ("tok_ok", "tok_declined"):
            order_id = f"order-{uuid.uuid4()}"
            print(f"{order_id}: {told(pay(client, order_id, card, points=600, yen=400))}")
        try:
            pay(client, f"order-{uuid.uuid4()}", "tok_ok", points=600, yen=300)
        except kessai.InvalidRequest as error:
            for violation in error.violations:
                print(f"not accepted: {violation.field} {violation.code}: {violation.message}")


if __name__ == "__main__":
    main()
