"""What a caller may ask of a part of a payment, checked: an amount, and how it is divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from coordinator.domain.errors import InvalidRequest, Violation
from coordinator.domain.money import Money
from coordinator.domain.record import Record
from coordinator.domain.split import Exact, InOrder, ProRata, Split


class Part(Record, frozen=True):
    """A part of a payment as it was asked for.

    amount      None for all that there is
    split       how it is divided over the tenders
    currencies  every field that names a currency, with what it names
    """

    amount: Money | None = None
    split: Split = ProRata()
    currencies: tuple[tuple[str, str], ...] = ()

    def body(self) -> dict[str, str]:
        """Its fields by path, for the fingerprint."""
        amount = self.amount
        return {
            "amount.minor_units": "" if amount is None else str(amount.minor),
            "amount.currency_code": "" if amount is None else amount.currency,
            "split": _spelled(self.split),
        }


def _spelled(split: Split) -> str:
    if isinstance(split, Exact):
        shares = sorted(split.shares.items())
        return "exact " + " ".join(f"{method}={minor}" for method, minor in shares)
    if isinstance(split, InOrder):
        return "in_order " + " ".join(split.methods)
    return "pro_rata"


def check_part(part: Part, currency: str, methods: Iterable[str]) -> None:
    """Raises InvalidRequest for what cannot be right, whatever is left of the payment.

    `methods` are the payment's tenders.
    """
    known = sorted(methods)
    violations = [
        Violation(where, "MIXED_CURRENCIES", f"must be {currency}, the payment's currency")
        for where, given in part.currencies
        if given != currency
    ]
    named: Mapping[str, int] | Counter[str] = {}
    if isinstance(part.split, InOrder):
        where, named = "split.in_order.methods", Counter(part.split.methods)
        if any(count > 1 for count in named.values()):
            violations.append(Violation(where, "DUPLICATE_METHOD", "each method at most once"))
    elif isinstance(part.split, Exact):
        where, named = "split.exact.shares", part.split.shares
        total, wanted = sum(named.values()), part.amount
        if wanted is not None and total != wanted.minor:
            text = f"add up to {total} minor units, but the amount is {wanted.minor}"
            violations.append(Violation(where, "SHARES_DO_NOT_ADD_UP", text))
    if not named.keys() <= set(known):
        text = f"the payment has tenders by {', '.join(known)}"
        violations.append(Violation(where, "UNKNOWN_METHOD", text))
    if violations:
        raise InvalidRequest(violations)


def wanted_minor(part: Part, left_minor: int) -> int:
    """How much is asked for, in minor units: an exact split may stand for the amount."""
    if part.amount is not None:
        return part.amount.minor
    if isinstance(part.split, Exact):
        return sum(part.split.shares.values())
    return left_minor
