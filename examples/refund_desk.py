"""A refund desk, with asyncio: a paid order is given back in two parts, and a third is too much.

Shows `kessai.AsyncClient`, refunds whose amount is divided in different ways, and a typed error. Of
600 points and 400 yen by card, the first refund gives 300 back to the card first; the second says
exactly who gets what; the third asks for more than is left and is refused. Prints:

    paid: 600 points_reserve, 400 card_charge
    refund 1: SUCCEEDED, 300 card_charge
    refund 2: SUCCEEDED, 200 points_reserve, 50 card_charge
    given back so far: 550 of 1000
    refused: REFUND_EXCEEDS_PAYMENT, 450 are left

Needs KESSAI_ADDRESS and KESSAI_API_KEY, as `make up` prints them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

import kessai
from kessai.payments.v1 import payments_pb2 as pb


def parts(shares: Iterable[pb.Tender | pb.Share]) -> str:
    """Who got how much."""
    return ", ".join(f"{share.amount.minor_units} {share.method}" for share in shares)


async def sale(client: kessai.AsyncClient) -> pb.Payment:
    """The order that comes back."""
    return await client.create_payment(
        flow="points_and_card",
        amount=kessai.yen(1000),
        tenders=[
            kessai.tender("points_reserve", "alice", kessai.yen(600)),
            kessai.tender("card_charge", "tok_ok", kessai.yen(400)),
        ],
        merchant_id="shop-1",
    )


async def desk(client: kessai.AsyncClient) -> None:
    """Two refunds, the list of them, and one that is too much."""
    payment = await sale(client)
    print(f"paid: {parts(payment.tenders)}")
    payment_id = payment.payment_id
    await client.create_refund(
        payment_id, amount=kessai.yen(300), split=kessai.in_order("card_charge")
    )
    await client.create_refund(
        payment_id,
        amount=kessai.yen(250),
        split=kessai.exactly(points_reserve=kessai.yen(200), card_charge=kessai.yen(50)),
    )
    async for refund in client.list_refunds(payment_id):
        said = f"{kessai.state_name(refund)}, {parts(refund.shares)}"
        print(f"refund {refund.ordinal}: {said}")
    payment = await client.get_payment(payment_id)
    back, taken = payment.refunded_amount.minor_units, payment.captured_amount.minor_units
    print(f"given back so far: {back} of {taken}")
    try:
        await client.create_refund(payment_id, amount=kessai.yen(451))
    except kessai.RefundExceedsPayment as error:
        print(f"refused: {error.code}, {error.facts['refundable_minor']} are left")


async def main() -> None:
    """The desk opens, and closes."""
    address, api_key = os.environ["KESSAI_ADDRESS"], os.environ["KESSAI_API_KEY"]
    async with kessai.AsyncClient(address, api_key=api_key) as client:
        await desk(client)


if __name__ == "__main__":
    asyncio.run(main())
