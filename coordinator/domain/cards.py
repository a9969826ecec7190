"""Recognises card numbers, so that they can be refused where they do not belong."""

from __future__ import annotations

import re
from collections.abc import Iterator

_RUN = re.compile(r"[0-9](?:[-._/:@ ]?[0-9])*")
_DIGITS = range(12, 20)


def has_card_number(text: str) -> bool:
    """Whether a card number stands in `text`, bare or with separators between its digits.

    A card number has 12 to 19 digits and a valid check digit. Source: ISO/IEC 7812-1 (Luhn).
    """
    return any(len(run) in _DIGITS and _checks(run) for run in _runs(text))


def _runs(text: str) -> Iterator[str]:
    """Runs of digits: with their separators taken out, and each part between separators."""
    for found in _RUN.findall(text):
        parts = re.findall("[0-9]+", found)
        yield "".join(parts)
        yield from parts


def _checks(digits: str) -> bool:
    doubled = (int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0  # noqa: PLR2004
