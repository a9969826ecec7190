"""Options that several commands share. Light: every `--help` imports it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

DEFAULT_ADDRESS = "127.0.0.1:7300"
CALL_TIMEOUT_S = 15.0
WATCH_TIMEOUT_S = 300.0

AddressOption = Annotated[
    str,
    typer.Option(
        "--address", envvar="KESSAI_ADDRESS", metavar="HOST:PORT", help="Address of PaymentService."
    ),
]
ApiKeyOption = Annotated[
    str,
    typer.Option(
        "--api-key",
        envvar="KESSAI_API_KEY",
        help="The caller's API key. The variable is safer: other users can read command lines.",
        show_default=False,
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", min=0.001, max=86400, help="Longest wait for answers, in seconds."),
]
PaymentArgument = Annotated[
    str, typer.Argument(metavar="PAYMENT_ID", help="The payment's ID.", show_default=False)
]
RefundArgument = Annotated[
    str, typer.Argument(metavar="REFUND_ID", help="The refund's ID.", show_default=False)
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="Idempotency key: the same key and body give the same answer. "
        "Without one, a fresh one is made and shown.",
        show_default=False,
    ),
]
PartOption = Annotated[
    int | None,
    typer.Option(
        "--amount",
        metavar="MINOR",
        help="How much, in minor units of the payment's currency. Default: all that there is.",
        show_default=False,
    ),
]
SplitOption = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="RULE",
        help="How it is divided over the tenders: `pro-rata`; `order:A,B`, as much as possible of "
        "the first, then of the next; or `exact:A=100,B=50`, in minor units. A and B are methods.",
    ),
]
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_pairs(
    option: str, values: list[str] | None, form: str = "NAME=VALUE"
) -> dict[str, str] | None:
    """NAME=VALUE options as a mapping; None if none was given. Raises typer.BadParameter."""
    if not values:
        return None
    pairs = dict(value.partition("=")[::2] for value in values)
    if not all(name and value for name, value in pairs.items()) or len(pairs) < len(values):
        name = form.partition("=")[0].lower()
        raise typer.BadParameter(f"must be {form}, each {name} once", param_hint=option)
    return pairs


def parse_objects(option: str, values: list[str] | None) -> dict[str, object] | None:
    """NAME=JSON options as a mapping; None if none was given. Raises typer.BadParameter."""
    pairs = parse_pairs(option, values)
    if pairs is None:
        return None
    try:
        return {name: json.loads(text) for name, text in pairs.items()}
    except ValueError:
        raise typer.BadParameter("must be NAME=JSON", param_hint=option) from None


def parse_time(option: str, text: str | None) -> datetime | None:
    """An ISO 8601 time; without a zone it is UTC. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            "must be an ISO 8601 time such as 2026-11-21 or 2026-11-21T10:00:00+09:00",
            param_hint=option,
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_duration(option: str, text: str | None) -> timedelta | None:
    """A number and its unit, such as 90s or 2h. Raises typer.BadParameter."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise typer.BadParameter(
            "must be a number and s, m, h or d, such as 90s, 15m or 2h", param_hint=option
        )
    number, unit = found.groups()
    return timedelta(**{_UNITS[unit]: float(number)})


def parse_tender(text: str) -> tuple[str, str, int]:
    """METHOD:SOURCE:AMOUNT; the source may hold colons. Raises typer.BadParameter.

    The text is not repeated in the message: a source may be a secret.
    """
    method, colon, rest = text.partition(":")
    source, second, amount = rest.rpartition(":")
    digits = amount.removeprefix("-")
    if not (colon and second and method and digits.isascii() and digits.isdigit()):
        raise typer.BadParameter(
            "must be METHOD:SOURCE:AMOUNT with the amount in minor units, "
            "such as points_reserve:alice:600",
            param_hint="--tender",
        )
    return method, source, int(amount[:20])
