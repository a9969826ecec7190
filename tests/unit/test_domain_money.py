"""Money: whole minor units of known currencies, within limits."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.domain.money import EXPONENTS, MAX_MINOR, Money, format_minor


@pytest.mark.parametrize("minor", [1, 400, MAX_MINOR])
def test_an_amount_within_the_limits_is_money(minor: int) -> None:
    assert Money(minor, "JPY").minor == minor


@pytest.mark.parametrize("minor", [0, -1, MAX_MINOR + 1, -MAX_MINOR])
def test_an_amount_outside_the_limits_is_refused(minor: int) -> None:
    with pytest.raises(ValueError, match="integer in 1"):
        Money(minor, "JPY")


@pytest.mark.parametrize("minor", [1.0, 0.5, True, "1", None, float("nan"), float("inf"), 1 + 0j])
def test_nothing_but_an_integer_is_an_amount(minor: Any) -> None:
    with pytest.raises(ValueError, match="integer in 1"):
        Money(minor, "JPY")


@pytest.mark.parametrize("currency", ["", "jpy", "JP", "YEN", "XXX", "XTS", "XAU", "ABC", "JPY "])
def test_an_unknown_currency_is_refused(currency: str) -> None:
    with pytest.raises(ValueError, match=r"^currency must be an ISO 4217 code$"):
        Money(1, currency)


@pytest.mark.parametrize(("minor", "currency"), [(5, "HRK"), (MAX_MINOR + 1, "JPY")])
def test_stored_money_is_not_judged_by_todays_rules(minor: int, currency: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        Money(minor, currency)
    assert (Money.stored(minor, currency).minor, Money.stored(minor, currency).currency) == (
        minor,
        currency,
    )
    assert Money.stored(5, "JPY") == Money(5, "JPY")


def test_money_is_a_value() -> None:
    assert Money(1, "JPY") == Money(1, "JPY")
    assert Money(1, "JPY") != Money(1, "USD")
    assert len({Money(1, "JPY"), Money(1, "JPY"), Money(2, "JPY")}) == 2


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (1000, "JPY", "1,000 JPY"),
        (400, "USD", "4.00 USD"),
        (5, "USD", "0.05 USD"),
        (123456789, "USD", "1,234,567.89 USD"),
        (1, "KWD", "0.001 KWD"),
        (1234567, "KWD", "1,234.567 KWD"),
        (12345, "CLF", "1.2345 CLF"),
        (7, "KRW", "7 KRW"),
        (100, "EUR", "1.00 EUR"),
        (MAX_MINOR, "JPY", "1,000,000,000,000 JPY"),
    ],
)
def test_money_is_shown_with_its_currencys_digits(minor: int, currency: str, text: str) -> None:
    assert str(Money(minor, currency)) == text


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(0, "JPY", "0"), (0, "USD", "0.00"), (-5, "USD", "-0.05"), (-1234567, "JPY", "-1,234,567")],
)
def test_balances_may_be_zero_or_negative_when_shown(minor: int, currency: str, text: str) -> None:
    assert format_minor(minor, currency) == text


def test_exponents_are_those_of_iso_4217() -> None:
    # The ones that other packages get wrong, and the extremes.
    expected = {"JPY": 0, "USD": 2, "KWD": 3, "CLF": 4, "UYW": 4, "IQD": 3, "ISK": 0, "TND": 3}
    assert {code: EXPONENTS[code] for code in expected} == expected
    assert set(EXPONENTS.values()) <= {0, 2, 3, 4}
