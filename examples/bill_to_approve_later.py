"""A bill that somebody approves later: the money is held now, and taken or given back afterwards.

Shows manual capture. Two bills of 1,000 yen are created with `capture` MANUAL: their points and
card are held and nothing is taken. Of the first 700 yen are approved, and the rest is given back;
the second is rejected. A bill nobody decides is given back by itself at `reserve_until`. Prints:

    bill 1: RESERVED, held until …
    bill 1: PAID, 700 of 1000 yen taken
    bill 2: RESERVED, held until …
    bill 2: FAILED, CANCELLED_BY_CALLER: rejected by accounting

Needs KESSAI_ADDRESS and KESSAI_API_KEY, as `make up` prints them.
"""

from __future__ import annotations

import os
from datetime import timedelta

import kessai
from kessai.payments.v1 import payments_pb2 as pb


def hold(client: kessai.Client) -> pb.Payment:
    """Holds 1,000 yen; answers as soon as everything is held."""
    payment = client.create_payment(
        flow="points_and_card",
        amount=kessai.yen(1000),
        tenders=[
            kessai.tender("points_reserve", "alice", kessai.yen(600)),
            kessai.tender("card_charge", "tok_ok", kessai.yen(400)),
        ],
        merchant_id="shop-1",
        capture=pb.CAPTURE_MODE_MANUAL,
        reserve_for=timedelta(minutes=5),
    )
    if not kessai.is_settled(payment):  # the call's time may have been over before all was held
        payment = client.wait_payment(payment.payment_id, timeout_s=30)
    return payment


def told(payment: pb.Payment) -> str:
    """The bill in one line."""
    state = kessai.state_name(payment)
    if state == "RESERVED":
        return f"{state}, held until {payment.reserve_until.ToDatetime():%H:%M:%S} UTC"
    if state == "FAILED":
        return f"{state}, {payment.failure.code}: {payment.failure.reason}"
    taken, whole = payment.captured_amount.minor_units, payment.amount.minor_units
    return f"{state}, {taken} of {whole} yen taken"


def main() -> None:
    """One bill is approved in part, another one is rejected."""
    address, api_key = os.environ["KESSAI_ADDRESS"], os.environ["KESSAI_API_KEY"]
    with kessai.Client(address, api_key=api_key) as client:
        first = hold(client)
        print(f"bill 1: {told(first)}")
        print(f"bill 1: {told(client.capture_payment(first.payment_id, amount=kessai.yen(700)))}")
        second = hold(client)
        print(f"bill 2: {told(second)}")
        rejected = client.cancel_payment(second.payment_id, reason="rejected by accounting")
        print(f"bill 2: {told(rejected)}")


if __name__ == "__main__":
    main()
