"""Between protobuf messages and the domain's values, both ways. Nothing here decides anything."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeAlias

from kessai.payments.v1 import payments_pb2 as pb
from msgspec.structs import asdict

from coordinator.domain.errors import InvalidRequest, Violation
from coordinator.domain.ids import TransactionId, parse_transaction_id
from coordinator.domain.machine import State
from coordinator.domain.money import Money
from coordinator.domain.phase import Role
from coordinator.domain.transaction import (
    EntryKind,
    JournalEntry,
    Step,
    StepStatus,
    Tender,
    Transaction,
)
from coordinator.engine.accept import Item, NewPayment, OrderConflict
from coordinator.ports import PaymentQuery

STATES: dict[State, pb.PaymentState] = {
    state: getattr(pb, f"PAYMENT_STATE_{state.value}") for state in State
}
STATES_BACK = {number: state for state, number in STATES.items()}
STATUSES: dict[StepStatus, pb.StepStatus] = {
    status: getattr(pb, f"STEP_STATUS_{status.value}") for status in StepStatus
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_PAGE = 50
DEFAULT_JOURNAL_PAGE = 100


def new_payment(caller: str, request: pb.CreatePaymentRequest) -> NewPayment:
    """What a valid CreatePaymentRequest asks for. Currencies are left for the engine to check."""
    cancel_previous = request.order_conflict == pb.ORDER_CONFLICT_CANCEL_PREVIOUS
    return NewPayment(
        caller=caller,
        idempotency_key=request.idempotency_key,
        flow=request.flow,
        amount=money(request.amount),
        tenders=tuple(
            Tender(tender.method, tender.source, money(tender.amount)) for tender in request.tenders
        ),
        merchant_id=request.merchant_id,
        order_id=request.order_id,
        order_conflict=(OrderConflict.CANCEL_PREVIOUS if cancel_previous else OrderConflict.REJECT),
        customer_id=request.customer_id,
        manual=request.capture == pb.CAPTURE_MODE_MANUAL,
        reservation_s=_seconds(request) if request.HasField("reserve_for") else None,
        items=tuple(Item(item.phase, item.item_id) for item in request.items),
    )


def _seconds(request: pb.CreatePaymentRequest) -> float:
    duration = request.reserve_for
    if not 0 <= duration.nanos < 10**9:
        text = "its nanoseconds must be 0 to 999,999,999"
        raise InvalidRequest([Violation("reserve_for", "OUT_OF_RANGE", text)])
    return float(duration.seconds + duration.nanos / 10**9)


def money(message: pb.Money) -> Money:
    """An amount of a valid request; its currency is left for the engine to check."""
    return Money.stored(message.minor_units, message.currency_code)


def payment_query(caller: str, request: pb.ListPaymentsRequest) -> PaymentQuery:
    """The query of a valid ListPaymentsRequest. Raises InvalidRequest for a bad page token."""
    return PaymentQuery(
        caller=caller,
        states=tuple(STATES_BACK[number] for number in request.states),
        order_id=request.order_id,
        customer_id=request.customer_id,
        merchant_id=request.merchant_id,
        created_from=_time(request, "create_time_from"),
        created_to=_time(request, "create_time_to"),
        before=_before(request),
        limit=request.page_size or DEFAULT_PAGE,
    )


def _time(request: pb.ListPaymentsRequest, name: str) -> datetime | None:
    if not request.HasField(name):
        return None
    try:
        value: datetime = getattr(request, name).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        problem = Violation(name, "OUT_OF_RANGE", "must be a time in the years 1 to 9999")
        raise InvalidRequest([problem]) from None
    return value


def _filters(request: pb.ListPaymentsRequest) -> str:
    """A short digest of everything but the page: a token goes with the filters it was made for."""
    bare = pb.ListPaymentsRequest()
    bare.CopyFrom(request)
    bare.ClearField("page_token")
    bare.ClearField("page_size")
    return sha256(bare.SerializeToString(deterministic=True)).hexdigest()[:12]


def page_token(request: pb.ListPaymentsRequest, last: Transaction) -> str:
    """The token of the page that follows `last`."""
    text = f"{_filters(request)} {last.created_at.isoformat()} {last.id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _before(request: pb.ListPaymentsRequest) -> tuple[datetime, TransactionId] | None:
    if not request.page_token:
        return None
    try:
        text = base64.urlsafe_b64decode(request.page_token.encode()).decode()
        filters, created_at, payment_id = text.split(" ")
        before = (
            datetime.fromisoformat(created_at).astimezone(UTC),
            parse_transaction_id(payment_id),
        )
    except (binascii.Error, ValueError, OverflowError):
        filters, before = "", None
    if before is None or filters != _filters(request):
        raise InvalidRequest([BAD_PAGE_TOKEN])
    return before


BAD_PAGE_TOKEN = Violation(
    "page_token",
    "BAD_PAGE_TOKEN",
    "must be the next_page_token of the page before, with the same filters; or empty to begin",
)


def journal_after(request: pb.ListJournalRequest) -> int:
    """The sequence number that the page begins after. Raises InvalidRequest for a bad token."""
    if not request.page_token:
        return 0
    if not (request.page_token.isascii() and request.page_token.isdigit()):
        raise InvalidRequest([BAD_PAGE_TOKEN])
    return min(int(request.page_token), 2**31 - 1)


Plain: TypeAlias = dict[str, Any]
"""A message's fields by name: as part of a larger message, half the work of a message."""


def payment(transaction: Transaction) -> pb.Payment:
    """The public form of a transaction. Secret sources are left out."""
    failure, attention = transaction.failure, transaction.attention
    currency = transaction.amount.currency
    return pb.Payment(
        payment_id=transaction.id,
        state=STATES[transaction.state],
        flow=transaction.flow,
        amount=money_fields(transaction.amount),
        tenders=_tenders(transaction),
        merchant_id=transaction.merchant_id,
        order_id=transaction.order_id,
        customer_id=transaction.customer_id,
        steps=[step_fields(step) for step in transaction.steps],
        create_time=timestamp(transaction.created_at),
        update_time=timestamp(transaction.updated_at),
        version=transaction.version,
        idempotency_key=transaction.idempotency_key,
        failure=None if failure is None else asdict(failure),
        attention=None if attention is None else asdict(attention),
        capture=pb.CAPTURE_MODE_MANUAL if transaction.manual else pb.CAPTURE_MODE_AUTOMATIC,
        reserve_until=timestamp(transaction.reserved_until),
        captured_amount=minor_fields(transaction.captured_minor, currency),
        refunded_amount=minor_fields(transaction.refunded_minor, currency),
        items=[
            {"phase": step.phase, "item_id": step.source}
            for step in transaction.steps
            if step.role is Role.KEEPS
        ],
    )


def _tenders(transaction: Transaction) -> list[Plain]:
    return [
        {
            "method": step.phase,
            "source": "" if step.secret else step.source,
            "amount": money_fields(step.amount),
        }
        for step in transaction.steps
        if step.role is Role.TAKES and step.amount is not None
    ]


def step_fields(step: Step) -> Plain:
    """A `Step`'s fields."""
    return {
        "phase": step.phase,
        "status": STATUSES[step.status],
        "amount": None if step.amount is None else money_fields(step.amount),
        "attempts": step.attempts,
        "last_error": step.last_error,
        "participant_reference": step.reference,
        "final_amount": None
        if step.amount is None
        else minor_fields(step.final_minor or 0, step.amount.currency),
        "next_action": None if step.next_action is None else asdict(step.next_action),
    }


def minor_fields(minor: int, currency: str) -> Plain | None:
    """An amount, or nothing for nothing."""
    return {"currency_code": currency, "minor_units": minor} if minor else None


def money_fields(money: Money) -> Plain:
    """A `Money`'s fields."""
    return {"currency_code": money.currency, "minor_units": money.minor}


def timestamp(moment: datetime) -> Plain:
    """A `google.protobuf.Timestamp`'s fields."""
    since = moment - _EPOCH
    return {"seconds": since.days * 86_400 + since.seconds, "nanos": since.microseconds * 1000}


def journal_entries(entries: Sequence[JournalEntry]) -> list[pb.JournalEntry]:
    """The public form of journal lines."""
    return [
        pb.JournalEntry(
            sequence=entry.sequence,
            time=timestamp(entry.at),
            kind=entry.kind.value,
            event=entry.event,
            from_state=STATES[entry.from_state] if entry.from_state else None,
            to_state=STATES[entry.to_state],
            phase=entry.phase,
            operation=entry.operation,
            attempt=entry.attempt,
            outcome=entry.outcome,
            code=entry.code,
            # Why an operator acted is between operators.
            detail="" if entry.kind is EntryKind.OPERATOR else entry.detail,
        )
        for entry in entries
    ]
