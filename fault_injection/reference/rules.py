"""The tables of the reference: where a payment may go, and what a ledger may then contain.

Words and numbers only. They are written from the contract (docs/architecture.md,
docs/participants.md), not from the code that they judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

AFTER: Mapping[str, frozenset[str]] = {
    "CREATED": frozenset(
        {
            "CREATED",
            "RESERVED",
            "CAPTURING",
            "SETTLING",
            "PAID",
            "REFUNDED",
            "CANCELLING",
            "FAILED",
        }
    ),
    "RESERVED": frozenset(
        {"RESERVED", "CAPTURING", "SETTLING", "PAID", "REFUNDED", "CANCELLING", "FAILED"}
    ),
    "CAPTURING": frozenset({"CAPTURING", "SETTLING", "PAID", "REFUNDED", "CANCELLING", "FAILED"}),
    "SETTLING": frozenset({"SETTLING", "PAID", "REFUNDED"}),
    "PAID": frozenset({"PAID", "REFUNDED"}),
    "REFUNDED": frozenset({"REFUNDED"}),
    "CANCELLING": frozenset({"CANCELLING", "FAILED"}),
    "FAILED": frozenset({"FAILED"}),
}
"""Where a payment or refund that was seen in a state may be seen later."""

OPEN = frozenset({"CREATED", "RESERVED"})
"""Not decided: it may still be cancelled."""
RELEASED = frozenset({"CANCELLING", "FAILED"})
"""It will never be paid."""
DECIDED = frozenset({"CAPTURING", "SETTLING", "PAID", "REFUNDED"})
"""Its money is taken, or is being taken."""
PAID = frozenset({"PAID", "REFUNDED"})
ENDED = frozenset({"PAID", "REFUNDED", "FAILED"})
"""Nothing moves by itself any more."""

NOTHING, HELD, PENDING, REFUSED = "", "HELD", "PENDING", "REFUSED"
CONFIRMED, CANCELLED = "CONFIRMED", "CANCELLED"

Words: TypeAlias = frozenset[str]
_UNDECIDED = frozenset({NOTHING, HELD, PENDING, REFUSED})
_UNDONE = frozenset({NOTHING, REFUSED, CANCELLED})

LEDGER: Mapping[str, tuple[Words, Words, Words]] = {
    "CREATED": (_UNDECIDED, _UNDECIDED, _UNDECIDED),
    "RESERVED": (frozenset({HELD}),) * 3,
    "CAPTURING": (frozenset({HELD, CONFIRMED}), frozenset({HELD}), frozenset({HELD})),
    "SETTLING": (
        frozenset({CONFIRMED}),
        frozenset({HELD, CONFIRMED}),
        frozenset({HELD, CANCELLED}),
    ),
    "PAID": (frozenset({CONFIRMED}), frozenset({CONFIRMED}), frozenset({CANCELLED})),
    "REFUNDED": (frozenset({CONFIRMED}), frozenset({CONFIRMED}), frozenset({CANCELLED})),
    "CANCELLING": (_UNDECIDED | _UNDONE,) * 3,
    "FAILED": (_UNDONE,) * 3,
}
"""What a participant may know of its part: the pivot; the others; those of which a partial capture
takes nothing."""

MAX_MINOR = 10**9
"""The largest payment of anybody, in minor units."""
TRY_BUDGET_S = 5.0
"""A payment whose participants do not answer is released after so long, and not before."""


def between(before: str, after: str) -> frozenset[str]:
    """Every state that something may have had between two moments at which it was looked at."""
    return frozenset(state for state in AFTER[before] if after in AFTER[state])


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part of a payment that somebody asks for.

    minor     how much, in minor units; None: all there is, or what `exact` adds up to
    first     these tenders first, in this order; None: not in order
    exact     exactly so much of each tender; None: not so
    currency  of the amount

    With neither `first` nor `exact`, each tender bears what is proportionate.
    """

    minor: int | None = None
    first: tuple[str, ...] | None = None
    exact: tuple[tuple[str, int], ...] | None = None
    currency: str = "JPY"

    def total(self, whole: int) -> int:
        """How much that is of `whole`, in minor units."""
        if self.minor is not None:
            return self.minor
        return whole if self.exact is None else sum(share for _, share in self.exact)

    def is_nonsense(self, methods: Iterable[str]) -> bool:
        """Whether it can be right for no payment with these tenders, whatever is left of it."""
        shares = dict(self.exact or ())
        named = [*(self.first or ()), *shares]
        doubled = len(set(named)) < len(named)
        unlike = self.exact is not None and self.minor not in {None, sum(shares.values())}
        foreign = self.minor is not None and self.currency != "JPY"
        return doubled or unlike or foreign or not set(named) <= set(methods)

    def overdrawn(self, left: Mapping[str, int]) -> bool:
        """Whether it takes exactly so much of a tender as is not left of it."""
        return any(share > left.get(method, 0) for method, share in self.exact or ())


def shares_fit(shares: Mapping[str, int], bearable: Mapping[str, int], wanted: Wanted) -> bool:
    """Whether `shares` are what was wanted of what each tender can bear at most."""
    total = wanted.total(sum(bearable.values()))
    methods = list(bearable)
    if sum(shares.values()) != total or any(not 0 <= shares[m] <= bearable[m] for m in methods):
        return False
    if wanted.exact is not None:
        exact = dict(wanted.exact)
        return all(shares[method] == exact.get(method, 0) for method in methods)
    if wanted.first is not None:
        order = [*wanted.first, *(method for method in methods if method not in wanted.first)]
        for method in order:
            if shares[method] != min(total, bearable[method]):
                return False
            total -= shares[method]
        return True
    whole = sum(bearable.values())
    return all(abs(shares[m] * whole - total * bearable[m]) < whole for m in methods)
