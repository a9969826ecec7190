"""An outbox row as the CloudEvent that leaves (https://cloudevents.io, 1.0, structured JSON).

The content is a function of the row alone: however often an event is sent, and by whichever
process, its bytes are the same.
"""

from __future__ import annotations

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from google.protobuf import json_format
from kessai.events.v1 import events_pb2
from kessai.payments.v1 import payments_pb2

from coordinator.domain.transaction import OutboxEvent

SOURCE = "kessai"
CONTENT_TYPE = JSONFormat.CONTENT_TYPE

_FORMAT = JSONFormat()


def event_type(event: OutboxEvent) -> str:
    """The CloudEvent type, such as `kessai.payment.paid.v1`."""
    return f"kessai.payment.{event.state.lower()}.v1"


def payment_settled(event: OutboxEvent) -> events_pb2.PaymentSettled:
    """The event's data."""
    settled = events_pb2.PaymentSettled(
        payment_id=event.transaction_id,
        caller=event.caller,
        state=f"PAYMENT_STATE_{event.state}",
        flow=event.flow,
        amount=payments_pb2.Money(
            currency_code=event.amount.currency, minor_units=event.amount.minor
        ),
        merchant_id=event.merchant_id,
        order_id=event.order_id,
        customer_id=event.customer_id,
        settle_time=event.at,
    )
    if event.failure is not None:
        failure = event.failure
        settled.failure.CopyFrom(
            payments_pb2.Failure(code=failure.code, reason=failure.reason, phase=failure.phase)
        )
    return settled


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
    data = json_format.MessageToDict(payment_settled(event))
    return _FORMAT.write(CloudEvent(attributes, data))
