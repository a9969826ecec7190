"""The language of `--split`: how an amount is divided over tenders, in one word or a few.

    pro-rata                                     by what each tender still has
    order:card_charge,points_reserve             as much as possible of the first, then of the next
    exact:points_reserve=100,card_charge=50      exactly so, in minor units

Whether the payment has such tenders, and enough of them, is the server's to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import typer

from coordinator.cli.output import plain
from coordinator.domain.split import Exact, InOrder, ProRata, Split

if TYPE_CHECKING:
    from kessai.payments.v1 import payments_pb2 as pb

PRO_RATA = "pro-rata"
FORMS = "pro-rata, order:METHOD,… or exact:METHOD=AMOUNT,…"
MOST_PARTS = 8
_METHOD = re.compile(r"[a-z0-9_]{1,40}")
_AMOUNT = re.compile(r"[1-9][0-9]{0,18}")


def parse_split(text: str) -> Split:
    """The split that is meant. Raises typer.BadParameter, which names the part at fault."""
    if text == PRO_RATA:
        return ProRata()
    rule, colon, rest = text.partition(":")
    if not colon or rule not in {"order", "exact"}:
        _refuse(f"'{text}' is none of {FORMS}")
    parts = rest.split(",")
    if len(parts) > MOST_PARTS:
        _refuse(f"'{rule}:' takes at most {MOST_PARTS} methods")
    if rule == "order":
        return InOrder(tuple(_methods(parts, parts)))
    shares = [part.partition("=") for part in parts]
    methods = _methods([method for method, _, _ in shares], parts)
    for (_, _, amount), part in zip(shares, parts, strict=True):
        if not _AMOUNT.fullmatch(amount):
            _refuse(f"in '{part}': after the = there must be minor units above 0, such as 100")
    return Exact({method: int(share[2]) for method, share in zip(methods, shares, strict=True)})


def _methods(methods: Sequence[str], parts: Sequence[str]) -> Sequence[str]:
    """The methods, each once; `parts` are what they are told by."""
    for place, (method, part) in enumerate(zip(methods, parts, strict=True)):
        if not part:
            _refuse(f"part {place + 1} after the colon is empty")
        if not _METHOD.fullmatch(method):
            _refuse(f"in '{part}': '{method}' is not a method such as points_reserve")
        if method in methods[:place]:
            _refuse(f"in '{part}': {method} stands there twice")
    return methods


def _refuse(why: str) -> NoReturn:
    raise typer.BadParameter(plain(why), param_hint="--split")


def split_message(split: Split, currency: str) -> pb.Split | None:
    """The split as it is sent; None for pro rata, which is what the server does anyway."""
    from kessai.payments.v1 import payments_pb2  # noqa: PLC0415 - slow

    if isinstance(split, InOrder):
        in_order = payments_pb2.Split.InOrder(methods=split.methods)
        return payments_pb2.Split(in_order=in_order)
    if isinstance(split, Exact):
        shares = [
            payments_pb2.Share(
                method=method,
                amount=payments_pb2.Money(currency_code=currency, minor_units=minor),
            )
            for method, minor in split.shares.items()
        ]
        return payments_pb2.Split(exact=payments_pb2.Split.Exact(shares=shares))
    return None
