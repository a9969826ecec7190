"""Payments, refunds and journals as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any, TypeAlias

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
REFUND_PREFIX = "REFUND_STATE_"
STEP_PREFIX = "STEP_STATUS_"
COLOURS = {"PAID": "green", "FAILED": "red", "REFUNDED": "cyan", "SUCCEEDED": "green"}
WIDE = 165
"""Columns of a terminal that shows every column of a list."""
MIDDLING = 110
"""Columns of a terminal that shows orders in a list."""
SETTLED = frozenset({"PAID", "FAILED", "REFUNDED"})


Facts: TypeAlias = list[tuple[str, str | Text]]


def record(message: Message) -> dict[str, Any]:
    """A message as protobuf's JSON with the names of the .proto files; 64-bit numbers are text."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def state_name(payment: pb.Payment) -> str:
    """The state in one word, such as PAID."""
    return state_word(payment.state)


def refund_state(refund: pb.Refund) -> str:
    """The state of a refund in one word, such as SUCCEEDED; empty when it was never set."""
    value = refund.state
    name = pb.RefundState.Name(value) if value in pb.RefundState.values() else str(value)
    return name.removeprefix(REFUND_PREFIX) if value else ""


def next_actions(payment: pb.Payment) -> list[tuple[str, pb.NextAction]]:
    """What the customer has to do, by phase."""
    return [
        (step.phase, step.next_action) for step in payment.steps if step.HasField("next_action")
    ]


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


def in_utc(stamp: timestamp_pb2.Timestamp) -> str:
    """A time with its zone; empty when it was never set."""
    return f"{moment(stamp)} UTC" if stamp.seconds else ""


def payment_view(payment: pb.Payment) -> RenderableType:
    """One payment in full."""
    return Group(grid(_facts(payment)), _steps_table(payment.steps))


def refund_view(refund: pb.Refund) -> RenderableType:
    """One refund in full."""
    return Group(grid(_refund_facts(refund)), _steps_table(refund.steps))


def grid(facts: Facts) -> Table:
    """Facts, one a line: names, then values."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in facts:
        made.add_row(name, value)
    return made


def _steps_table(steps: Iterable[pb.Step]) -> Table:
    made = table(
        "phase",
        "status",
        "amount",
        "attempts",
        "last error",
        "reference",
        right=("amount", "attempts"),
    )
    for step in steps:
        made.add_row(
            plain(step.phase),
            status_name(step.status),
            _step_amount(step),
            str(step.attempts),
            plain(step.last_error),
            plain(step.participant_reference),
        )
    return made


def _step_amount(step: pb.Step) -> str:
    if not step.HasField("amount"):
        return ""
    if step.HasField("final_amount"):
        return part_of(step.final_amount, step.amount)
    return money(step.amount)


def part_of(part: pb.Money, whole: pb.Money) -> str:
    """`700 of 1,000 JPY`; only the whole where the part is all of it."""
    if part == whole or part.currency_code != whole.currency_code:
        return money(whole)
    return f"{money(part).removesuffix(f' {part.currency_code}')} of {money(whole)}"


def payments_view(payments: Sequence[pb.Payment], width: int) -> RenderableType:
    """Payments, one a line; only what matters most where there are few columns."""
    columns: tuple[str, ...] = (
        "payment",
        "created (UTC)",
        "state",
        "amount",
        "refunded",
        "flow",
        "merchant",
        "order",
        "why",
    )
    if width < WIDE:
        columns = ("payment", "state", "amount", "order", "why")
    if width < MIDDLING:
        columns = ("payment", "state", "amount", "why")
    rows = [_cells(payment, in_full=width >= MIDDLING) for payment in payments]
    whole: tuple[str, ...] = ("payment", "state", "amount", "why")
    if width < MIDDLING and _columns_of(rows, columns) > width:
        whole = whole[:-1]  # rather a broken code than one that is cut off
    numbers = ("amount", "refunded")
    made = table(*columns, right=numbers, whole=whole, edge=width >= MIDDLING)
    for cells in rows:
        made.add_row(*(cells[column] for column in columns))
    return made


def _cells(payment: pb.Payment, *, in_full: bool) -> dict[str, str | Text]:
    """What a list can show of a payment, by column; `in_full` also what was not captured."""
    return {
        "payment": plain(payment.payment_id),
        "created (UTC)": moment(payment.create_time),
        "state": coloured(state_name(payment)),
        "amount": _taken(payment, in_full=in_full),
        "refunded": money(payment.refunded_amount) if payment.HasField("refunded_amount") else "",
        "flow": plain(payment.flow),
        "merchant": plain(payment.merchant_id),
        "order": plain(payment.order_id),
        "why": plain(payment.failure.code),
    }


def _taken(payment: pb.Payment, *, in_full: bool) -> str:
    """How much was captured, once that is decided, and of how much."""
    if not payment.HasField("captured_amount"):
        return money(payment.amount)
    return (
        part_of(payment.captured_amount, payment.amount)
        if in_full
        else money(payment.captured_amount)
    )


def refunds_view(refunds: Sequence[pb.Refund], width: int) -> RenderableType:
    """Refunds, one a line; where they went to only where there are columns for it."""
    wide = width >= MIDDLING
    columns = ("#", "refund", "state", "amount", *(("to",) if wide else ()), "why")
    whole = ("refund", "state", "amount", "why")
    made = table(*columns, right=("#", "amount"), whole=whole, edge=wide)
    for refund in refunds:
        shares = [f"{money(share.amount)} {plain(share.method)}" for share in refund.shares]
        made.add_row(
            str(refund.ordinal),
            plain(refund.refund_id),
            coloured(refund_state(refund)),
            money(refund.amount),
            *((", ".join(shares),) if wide else ()),
            plain(refund.failure.code),
        )
    return made


def _columns_of(rows: Sequence[dict[str, str | Text]], columns: Sequence[str]) -> int:
    """How many columns of a terminal the table takes when nothing is broken."""
    widest = [max([len(name), *(len(row[name]) for row in rows)]) for name in columns]
    return sum(widest) + 2 * (len(columns) - 1)


def journal_view(entries: Sequence[pb.JournalEntry]) -> RenderableType:
    """A journal, one line an entry."""
    made = table("#", "time (UTC)", "what", "state", "outcome", "code", "detail", right=("#",))
    for entry in entries:
        moved = entry.kind == "transition"
        state = state_word(entry.to_state)
        before = state_word(entry.from_state)
        made.add_row(
            str(entry.sequence),
            moment(entry.time),
            plain(entry.event if entry.kind != "attempt" else _attempt(entry)),
            f"{before} → {state}" if moved and before not in {"", state} else state,
            plain(entry.outcome),
            plain(entry.code),
            plain(entry.detail),
        )
    return made


def _attempt(entry: pb.JournalEntry) -> str:
    return f"{entry.phase} {entry.operation} #{entry.attempt}"


def change_line(payment: pb.Payment) -> Text:
    """One change of a watched payment, on one line."""
    line = _line(payment.update_time, state_name(payment), payment)
    for phase, action in next_actions(payment):
        line.append(f"  {plain(phase)} waits for the customer: {plain(action.url)}")
    return line


def refund_line(refund: pb.Refund) -> Text:
    """One change of a watched refund, on one line."""
    return _line(refund.update_time, refund_state(refund), refund)


def _line(at: timestamp_pb2.Timestamp, state: str, changed: pb.Payment | pb.Refund) -> Text:
    line = Text(f"{moment(at)} UTC  ")
    line.append_text(coloured(state))
    steps = ", ".join(f"{plain(step.phase)} {status_name(step.status)}" for step in changed.steps)
    line.append(f"  {steps}", style="dim")
    if changed.failure.code:
        line.append(f"  {plain(changed.failure.code)}: {plain(changed.failure.reason)}")
    return line


def _facts(payment: pb.Payment) -> Facts:
    facts: Facts = [
        ("payment", plain(payment.payment_id)),
        ("state", coloured(state_name(payment))),
        ("amount", money(payment.amount)),
    ]
    if payment.HasField("captured_amount"):
        facts.append(("captured", money(payment.captured_amount)))
    if payment.HasField("refunded_amount"):
        facts.append(("refunded", money(payment.refunded_amount)))
    facts += [("flow", plain(payment.flow)), ("merchant", plain(payment.merchant_id))]
    for tender in payment.tenders:
        source = f" from {plain(tender.source)}" if tender.source else ""
        facts.append(("tender", f"{money(tender.amount)} by {plain(tender.method)}{source}"))
    facts += [("item", f"{plain(item.item_id)} by {plain(item.phase)}") for item in payment.items]
    if payment.capture == pb.CAPTURE_MODE_MANUAL:
        facts.append(("capture", "manual"))
    if state_name(payment) in {"CREATED", "RESERVED"} and payment.HasField("reserve_until"):
        facts.append(("reserved until", in_utc(payment.reserve_until)))
    facts += [
        ("next action", f"{plain(action.kind)} {plain(action.url)} (for {plain(phase)})")
        for phase, action in next_actions(payment)
    ]
    facts += _troubles(payment)
    facts += _given(("order", payment.order_id), ("customer", payment.customer_id))
    return facts + _dates(payment)


def _refund_facts(refund: pb.Refund) -> Facts:
    facts: Facts = [
        ("refund", plain(refund.refund_id)),
        ("state", coloured(refund_state(refund))),
        ("payment", plain(refund.payment_id)),
        ("number", f"{refund.ordinal} of this payment"),
        ("amount", money(refund.amount)),
    ]
    facts += [("to", f"{money(share.amount)} {plain(share.method)}") for share in refund.shares]
    return facts + _troubles(refund) + _dates(refund)


def _troubles(thing: pb.Payment | pb.Refund) -> Facts:
    facts: Facts = []
    if thing.HasField("failure"):
        failure = thing.failure
        where = f" (at {plain(failure.phase)})" if failure.phase else ""
        facts.append(("failure", f"{plain(failure.code)}: {plain(failure.reason)}{where}"))
    if thing.HasField("attention"):
        wrong = thing.attention
        facts.append(("attention", f"{plain(wrong.code)}: {plain(wrong.reason)}"))
    return facts


def _dates(thing: pb.Payment | pb.Refund) -> Facts:
    return _given(
        ("created", in_utc(thing.create_time)),
        ("changed", in_utc(thing.update_time)),
        ("key", thing.idempotency_key),
    )


def _given(*facts: tuple[str, str]) -> Facts:
    return [(name, plain(value)) for name, value in facts if value]


def state_word(value: Any) -> str:
    """The state's name; empty when it was never set."""
    if not value:
        return ""
    name = pb.PaymentState.Name(value) if value in pb.PaymentState.values() else str(value)
    return name.removeprefix(STATE_PREFIX)


def status_name(value: Any) -> str:
    """A step's status in one word."""
    name = pb.StepStatus.Name(value) if value in pb.StepStatus.values() else str(value)
    return name.removeprefix(STEP_PREFIX)


def coloured(name: str) -> Text:
    """A state in its colour."""
    return Text(name, style=COLOURS.get(name, "yellow"))
