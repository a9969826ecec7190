"""A wallet is topped up by card: 3,000 yen from a card to the account `wallet-alice`.

Shows a payment by card alone, and waiting for a customer who has to act first (3-D Secure and the
like). Kessai has no wallets of its own and no flow that fills one: here a wallet's owner is a
*merchant*, whose account at the merchant service is credited like any shop's. What that account is
(a wallet, a shop, a charity) is for the merchant service to know. These are not the points that
`points_reserve` takes; those are another participant's. Prints:

    PAID: 3000 JPY to wallet-alice
    waiting for the customer: redirect …
    PAID: 3000 JPY to wallet-alice

Needs KESSAI_ADDRESS and KESSAI_API_KEY, as `make up` prints them, and an account `wallet-alice` at
the merchant service, which `make up` opens.
"""

from __future__ import annotations

import os
import uuid
from contextlib import closing

import kessai
from kessai.payments.v1 import payments_pb2 as pb

AMOUNT = kessai.yen(3000)
WALLET = "wallet-alice"


def top_up(client: kessai.Client, card: str) -> pb.Payment:
    """Moves the amount from the card to the wallet; comes back when that is settled."""
    payment = client.create_payment(
        flow="card_only",
        amount=AMOUNT,
        tenders=[kessai.tender("card_charge", card, AMOUNT)],
        merchant_id=WALLET,
        customer_id="alice",
        order_id=f"top-up-{uuid.uuid4()}",
    )
    if kessai.is_settled(payment):
        return payment
    for action in kessai.next_actions(payment):
        print(f"waiting for the customer: {action.kind} {action.url}")
    with closing(client.watch_payment(payment.payment_id, timeout_s=60)) as changes:
        for change in changes:
            payment = change
    return payment


def main() -> None:
    """A card without and a card with a customer who has to act."""
    address, api_key = os.environ["KESSAI_ADDRESS"], os.environ["KESSAI_API_KEY"]
    with kessai.Client(address, api_key=api_key) as client:
        for card in ("tok_ok", "tok_customer_action"):
            payment = top_up(client, card)
            money = f"{payment.amount.minor_units} {payment.amount.currency_code}"
            print(f"{kessai.state_name(payment)}: {money} to {payment.merchant_id}")


if __name__ == "__main__":
    main()
