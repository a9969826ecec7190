"""Payments and journals as people and programs read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from google.protobuf import timestamp_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from kessai.payments.v1 import payments_pb2 as pb
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.cli.output import plain, table
from coordinator.domain.money import EXPONENTS, format_minor

STATE_PREFIX = "PAYMENT_STATE_"
STEP_PREFIX = "STEP_STATUS_"
COLOURS = {"PAID": "green", "FAILED": "red", "REFUNDED": "cyan"}
WIDE = 150
"""Columns of a terminal that shows every column of a list."""
MIDDLING = 110
"""Columns of a terminal that shows orders in a list."""
SETTLED = frozenset({"PAID", "FAILED", "REFUNDED"})


def record(message: Message) -> dict[str, Any]:
    """A message as protobuf's JSON with the names of the .proto files; 64-bit numbers are text."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def state_name(payment: pb.Payment) -> str:
    """The state in one word, such as PAID."""
    return _state(payment.state)


def money(amount: pb.Money) -> str:
    """`1,000 JPY`; an unknown currency is shown in minor units."""
    if amount.currency_code not in EXPONENTS:
        return f"{amount.minor_units} minor units of {plain(amount.currency_code)}"
    return f"{format_minor(amount.minor_units, amount.currency_code)} {amount.currency_code}"


def moment(stamp: timestamp_pb2.Timestamp) -> str:
    """A time, to the millisecond. In UTC, as `--from` and `--to` are; whoever shows it says so."""
    if not stamp.seconds:
        return ""
    return stamp.ToDatetime(tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _in_utc(stamp: timestamp_pb2.Timestamp) -> str:
    return f"{moment(stamp)} UTC" if stamp.seconds else ""


def payment_view(payment: pb.Payment) -> RenderableType:
    """One payment in full."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(payment):
        facts.add_row(name, value)
    steps = table(
        "phase",
        "status",
        "amount",
        "attempts",
        "last error",
        "reference",
        right=("amount", "attempts"),
    )
    for step in payment.steps:
        steps.add_row(
            plain(step.phase),
            _status(step.status),
            money(step.amount) if step.HasField("amount") else "",
            str(step.attempts),
            plain(step.last_error),
            plain(step.participant_reference),
        )
    return Group(facts, steps)


def payments_view(payments: Sequence[pb.Payment], width: int) -> RenderableType:
    """Payments, one a line; only what matters most where there are few columns."""
    columns: tuple[str, ...] = (
        "payment",
        "created (UTC)",
        "state",
        "amount",
        "flow",
        "merchant",
        "order",
        "why",
    )
    if width < WIDE:
        columns = ("payment", "state", "amount", "order", "why")
    if width < MIDDLING:
        columns = ("payment", "state", "amount", "why")
    rows = [_cells(payment) for payment in payments]
    whole: tuple[str, ...] = ("payment", "state", "amount", "why")
    if width < MIDDLING and _columns_of(rows, columns) > width:
        whole = whole[:-1]  # rather a broken code than one that is cut off
    made = table(*columns, right=("amount",), whole=whole)
    for cells in rows:
        made.add_row(*(cells[column] for column in columns))
    return made


def _cells(payment: pb.Payment) -> dict[str, str | Text]:
    """What a list can show of a payment, by column."""
    return {
        "payment": plain(payment.payment_id),
        "created (UTC)": moment(payment.create_time),
        "state": _coloured(payment),
        "amount": money(payment.amount),
        "flow": plain(payment.flow),
        "merchant": plain(payment.merchant_id),
        "order": plain(payment.order_id),
        "why": plain(payment.failure.code),
    }


def _columns_of(rows: Sequence[dict[str, str | Text]], columns: Sequence[str]) -> int:
    """How many columns of a terminal the table takes when nothing is broken."""
    widest = [max([len(name), *(len(row[name]) for row in rows)]) for name in columns]
    return sum(widest) + 2 * len(columns)


def journal_view(entries: Sequence[pb.JournalEntry]) -> RenderableType:
    """A journal, one line an entry."""
    made = table("#", "time (UTC)", "what", "state", "outcome", "code", "detail", right=("#",))
    for entry in entries:
        moved = entry.kind == "transition"
        state = _state(entry.to_state)
        before = _state(entry.from_state)
        made.add_row(
            str(entry.sequence),
            moment(entry.time),
            plain(entry.event if moved else f"{entry.phase} {entry.operation} #{entry.attempt}"),
            f"{before} → {state}" if moved and before not in {"", state} else state,
            plain(entry.outcome),
            plain(entry.code),
            plain(entry.detail),
        )
    return made


def change_line(payment: pb.Payment) -> Text:
    """One change of a watched payment, on one line."""
    line = Text(f"{moment(payment.update_time)} UTC  ")
    line.append_text(_coloured(payment))
    steps = ", ".join(f"{plain(step.phase)} {_status(step.status)}" for step in payment.steps)
    line.append(f"  {steps}", style="dim")
    if payment.failure.code:
        line.append(f"  {plain(payment.failure.code)}: {plain(payment.failure.reason)}")
    return line


def _facts(payment: pb.Payment) -> list[tuple[str, str | Text]]:
    facts: list[tuple[str, str | Text]] = [
        ("payment", plain(payment.payment_id)),
        ("state", _coloured(payment)),
        ("amount", money(payment.amount)),
        ("flow", plain(payment.flow)),
        ("merchant", plain(payment.merchant_id)),
    ]
    for tender in payment.tenders:
        source = f" from {plain(tender.source)}" if tender.source else ""
        facts.append(("tender", f"{money(tender.amount)} by {plain(tender.method)}{source}"))
    if payment.HasField("failure"):
        failure = payment.failure
        where = f" (at {plain(failure.phase)})" if failure.phase else ""
        facts.append(("failure", f"{plain(failure.code)}: {plain(failure.reason)}{where}"))
    if payment.HasField("attention"):
        wrong = payment.attention
        facts.append(("attention", f"{plain(wrong.code)}: {plain(wrong.reason)}"))
    optional = (
        ("order", payment.order_id),
        ("customer", payment.customer_id),
        ("created", _in_utc(payment.create_time)),
        ("changed", _in_utc(payment.update_time)),
        ("key", payment.idempotency_key),
    )
    facts.extend((name, plain(value)) for name, value in optional if value)
    return facts


def _state(value: Any) -> str:
    """The state's name; empty when it was never set."""
    if not value:
        return ""
    name = pb.PaymentState.Name(value) if value in pb.PaymentState.values() else str(value)
    return name.removeprefix(STATE_PREFIX)


def _status(value: Any) -> str:
    name = pb.StepStatus.Name(value) if value in pb.StepStatus.values() else str(value)
    return name.removeprefix(STEP_PREFIX)


def _coloured(payment: pb.Payment) -> Text:
    name = state_name(payment)
    return Text(name, style=COLOURS.get(name, "yellow"))
