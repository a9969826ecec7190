"""An outbox row as the CloudEvent that leaves (https://cloudevents.io, 1.0, structured JSON).

The content is a function of the row alone: however often an event is sent, and by whichever
process, its bytes are the same.
"""

from __future__ import annotations

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from google.protobuf import json_format
from google.protobuf.message import Message
from kessai.events.v1 import events_pb2
from kessai.payments.v1 import payments_pb2
from msgspec.structs import asdict

from coordinator.domain.machine import State
from coordinator.domain.transaction import OutboxEvent

SOURCE = "kessai"
CONTENT_TYPE = JSONFormat.CONTENT_TYPE

_FORMAT = JSONFormat()


_REFUND_STATES = {State.PAID: "SUCCEEDED", State.FAILED: "FAILED"}


def event_type(event: OutboxEvent) -> str:
    """The CloudEvent type, such as `kessai.payment.paid.v1`."""
    kind = "payment" if event.refund_of is None else "refund"
    if event.late_phase:
        return f"kessai.{kind}.late_success_undone.v1"
    if event.attention is not None:
        return f"kessai.{kind}.attention_needed.v1"
    state = event.state.value if event.refund_of is None else _REFUND_STATES[event.state]
    return f"kessai.{kind}.{state.lower()}.v1"


def subject_of(event: OutboxEvent) -> str:
    """Its subject below that of all payments, such as `paid` or `refund.succeeded`.

    Refunds are below payments, too: streams that older versions made take in nothing else.
    """
    return event_type(event).removeprefix("kessai.").removeprefix("payment.").removesuffix(".v1")


def data_of(event: OutboxEvent) -> Message:
    """The event's data."""
    if event.late_phase:
        return events_pb2.LateSuccessUndone(
            transaction_id=event.transaction_id,
            caller=event.caller,
            phase=event.late_phase,
            amount=_money(event),
            undo_time=event.at,
        )
    if event.attention is not None:
        return events_pb2.AttentionNeeded(
            transaction_id=event.transaction_id,
            caller=event.caller,
            flow=event.flow,
            amount=_money(event),
            code=event.attention.code,
            reason=event.attention.reason,
            raise_time=event.at,
        )
    failure = None if event.failure is None else asdict(event.failure)
    if event.refund_of is not None:
        return events_pb2.RefundSettled(
            refund_id=event.transaction_id,
            payment_id=event.refund_of.payment_id,
            caller=event.caller,
            state=f"REFUND_STATE_{_REFUND_STATES[event.state]}",
            flow=event.flow,
            amount=_money(event),
            merchant_id=event.merchant_id,
            customer_id=event.customer_id,
            failure=failure,
            settle_time=event.at,
        )
    return events_pb2.PaymentSettled(
        payment_id=event.transaction_id,
        caller=event.caller,
        state=f"PAYMENT_STATE_{event.state}",
        flow=event.flow,
        amount=_money(event),
        merchant_id=event.merchant_id,
        order_id=event.order_id,
        customer_id=event.customer_id,
        failure=failure,
        settle_time=event.at,
        captured_amount=_part(event, event.captured_minor),
        refunded_amount=_part(event, event.refunded_minor),
    )


def _part(event: OutboxEvent, minor: int) -> payments_pb2.Money | None:
    """A part of its amount; nothing for nothing."""
    if not minor:
        return None
    return payments_pb2.Money(currency_code=event.amount.currency, minor_units=minor)


def _money(event: OutboxEvent) -> payments_pb2.Money:
    amount = event.amount
    return payments_pb2.Money(currency_code=amount.currency, minor_units=amount.minor)


def render(event: OutboxEvent) -> bytes:
    """The whole CloudEvent, as JSON in UTF-8."""
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": SOURCE,
        "type": event_type(event),
        "subject": event.transaction_id,
        "time": event.at,
        "datacontenttype": "application/json",
    }
    data = json_format.MessageToDict(data_of(event))
    return _FORMAT.write(CloudEvent(attributes, data))
