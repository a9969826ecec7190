"""Money: integer minor units with an ISO 4217 code, and no floats anywhere.

Exponents come from the `iso4217` package, which follows the standard's own list; other packages
(babel among them) differ from it for a dozen currencies.
"""

from __future__ import annotations

from dataclasses import dataclass

from iso4217 import Currency

MAX_MINOR = 10**12
"""Upper limit of any single amount, in minor units. Sums of millions of them still fit 64 bits."""

EXPONENTS: dict[str, int] = {
    currency.code: currency.exponent for currency in Currency if currency.exponent is not None
}
"""Known currencies and their number of decimal digits."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount above zero, in minor units of a known currency.

    Raises ValueError when the amount is not an integer in 1..MAX_MINOR or the currency is unknown.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int or not 0 < self.minor <= MAX_MINOR:
            raise ValueError(f"amount must be an integer in 1..{MAX_MINOR}")
        if self.currency not in EXPONENTS:
            raise ValueError("currency must be an ISO 4217 code")

    @classmethod
    def stored(cls, minor: int, currency: str) -> Money:
        """An amount that was checked when it was made, or is going to be checked elsewhere.

        Currencies are withdrawn and limits change; what was written under older ones is still read.
        """
        money = object.__new__(cls)
        object.__setattr__(money, "minor", minor)
        object.__setattr__(money, "currency", currency)
        return money

    def __str__(self) -> str:
        """Human form: `1,000 JPY`, `4.00 USD`."""
        return f"{format_minor(self.minor, self.currency)} {self.currency}"


def format_minor(minor: int, currency: str) -> str:
    """An integer count of minor units with its currency's decimal point and thousands commas."""
    digits = EXPONENTS[currency]
    sign = "-" if minor < 0 else ""
    whole, fraction = divmod(abs(minor), 10**digits)
    return f"{sign}{whole:,}" + (f".{fraction:0{digits}d}" if digits else "")
