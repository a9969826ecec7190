"""Short ways to write the messages that requests are made of."""

from __future__ import annotations

from kessai.payments.v1 import payments_pb2 as pb


def money(currency_code: str, minor_units: int) -> pb.Money:
    """So many minor units of an ISO 4217 currency: `money("USD", 400)` is 4.00 dollars."""
    return pb.Money(currency_code=currency_code, minor_units=minor_units)


def yen(units: int) -> pb.Money:
    """So many yen."""
    return money("JPY", units)


def tender(method: str, source: str, amount: pb.Money) -> pb.Tender:
    """So much by this method from this source: `tender("points_reserve", "alice", yen(600))`."""
    return pb.Tender(method=method, source=source, amount=amount)


def item(phase: str, item_id: str) -> pb.Item:
    """Something that is kept for the buyer besides the money: `item("stock_reserve", "sku-1")`."""
    return pb.Item(phase=phase, item_id=item_id)


def pro_rata() -> pb.Split:
    """Divides by what each tender still has; also what happens without a split."""
    return pb.Split(pro_rata=pb.Split.ProRata())


def in_order(*methods: str) -> pb.Split:
    """As much as possible of the first method, then of the next."""
    return pb.Split(in_order=pb.Split.InOrder(methods=methods))


def exactly(**amounts: pb.Money) -> pb.Split:
    """Amount by amount: `exactly(points_reserve=yen(100), card_charge=yen(50))`."""
    shares = [pb.Share(method=method, amount=amount) for method, amount in amounts.items()]
    return pb.Split(exact=pb.Split.Exact(shares=shares))
