"""How an amount is divided over tenders: exact to the minor unit, and the same every time.

Used when only a part of a payment is captured and when money is given back. What each tender can
bear at most is given; nothing here knows why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from coordinator.domain.record import Record


class ProRata(Record, frozen=True):
    """By what each tender can bear, rounded by largest remainder; ties go to the earlier one."""


class InOrder(Record, frozen=True):
    """As much as possible of the first, then of the next; those left out follow in their order."""

    methods: tuple[str, ...]


class Exact(Record, frozen=True):
    """Exactly so, in minor units; those left out get nothing."""

    shares: Mapping[str, int]


Split: TypeAlias = ProRata | InOrder | Exact


def divide(total: int, bearable: Mapping[str, int], split: Split) -> dict[str, int]:
    """The share of every tender, in minor units; the shares add up to `total`.

    `bearable` is the most each can bear, in the flow's order. Raises ValueError when they cannot
    bear the total together, or when a split names others, one twice, too much, or another total.
    """
    if not 0 < total <= sum(bearable.values()):
        raise ValueError("the tenders cannot bear this total")
    if isinstance(split, Exact):
        shares = {method: split.shares.get(method, 0) for method in bearable}
        fits = all(0 <= share <= bearable[method] for method, share in shares.items())
        if not fits or not split.shares.keys() <= bearable.keys() or sum(shares.values()) != total:
            raise ValueError("the shares do not fit")
        return shares
    if isinstance(split, InOrder):
        if len(set(split.methods) & bearable.keys()) != len(split.methods):
            raise ValueError("an order names each tender at most once, and no other")
        return _in_order(total, bearable, split.methods)
    return _pro_rata(total, bearable)


def _in_order(total: int, bearable: Mapping[str, int], first: tuple[str, ...]) -> dict[str, int]:
    shares = {}
    for method in (*first, *(method for method in bearable if method not in first)):
        shares[method] = min(total, bearable[method])
        total -= shares[method]
    return {method: shares[method] for method in bearable}


def _pro_rata(total: int, bearable: Mapping[str, int]) -> dict[str, int]:
    whole = sum(bearable.values())
    shares, remainders = {}, []
    for place, (method, most) in enumerate(bearable.items()):
        shares[method], remainder = divmod(total * most, whole)
        remainders.append((-remainder, place, method))
    # Fewer units are left than there are tenders with a remainder, so that no share grows above
    # what its tender can bear: with a remainder it is below it.
    for _, _, method in sorted(remainders)[: total - sum(shares.values())]:
        shares[method] += 1
    return shares
