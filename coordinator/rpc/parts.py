"""Captures and refunds, between protobuf messages and the engine's values."""

from __future__ import annotations

from kessai.payments.v1 import payments_pb2 as pb
from msgspec.structs import asdict

from coordinator.domain.errors import InvalidRequest, Violation
from coordinator.domain.ids import parse_transaction_id
from coordinator.domain.machine import State
from coordinator.domain.phase import Role
from coordinator.domain.split import Exact, InOrder, ProRata, Split
from coordinator.domain.transaction import Transaction
from coordinator.engine.capture import NewCapture
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from coordinator.rpc.mapping import BAD_PAGE_TOKEN, money, money_fields, step_fields, timestamp

DEFAULT_REFUNDS_PAGE = 50

REFUND_STATES: dict[State, pb.RefundState] = {
    State.CREATED: pb.REFUND_STATE_CREATED,
    State.RESERVED: pb.REFUND_STATE_SETTLING,
    State.CAPTURING: pb.REFUND_STATE_SETTLING,
    State.SETTLING: pb.REFUND_STATE_SETTLING,
    State.PAID: pb.REFUND_STATE_SUCCEEDED,
    State.CANCELLING: pb.REFUND_STATE_CANCELLING,
    State.FAILED: pb.REFUND_STATE_FAILED,
}


def new_capture(caller: str, request: pb.CapturePaymentRequest) -> NewCapture:
    """What a valid request asks for. Raises InvalidRequest for shares of one method twice."""
    payment_id = parse_transaction_id(request.payment_id)
    return NewCapture(caller, request.idempotency_key, payment_id, _part(request))


def new_refund(caller: str, request: pb.CreateRefundRequest) -> NewRefund:
    """What a valid request asks for. Raises InvalidRequest for shares of one method twice."""
    payment_id = parse_transaction_id(request.payment_id)
    return NewRefund(caller, request.idempotency_key, payment_id, _part(request))


def _part(request: pb.CapturePaymentRequest | pb.CreateRefundRequest) -> Part:
    currencies = []
    amount = None
    if request.HasField("amount"):
        amount = money(request.amount)
        currencies.append(("amount.currency_code", amount.currency))
    for index, share in enumerate(request.split.exact.shares):
        where = f"split.exact.shares[{index}].amount.currency_code"
        currencies.append((where, share.amount.currency_code))
    return Part(amount, _split(request.split), tuple(currencies))


def _split(message: pb.Split) -> Split:
    match message.WhichOneof("rule"):
        case "in_order":
            return InOrder(tuple(message.in_order.methods))
        case "exact":
            shares = {share.method: share.amount.minor_units for share in message.exact.shares}
            if len(shares) < len(message.exact.shares):
                text = "each method may have one share"
                violation = Violation("split.exact.shares", "DUPLICATE_METHOD", text)
                raise InvalidRequest([violation])
            return Exact(shares)
        case _:
            return ProRata()


def refund(transaction: Transaction) -> pb.Refund:
    """The public form of a refund."""
    of = transaction.refund_of
    assert of is not None, "only refunds come here"
    failure, attention = transaction.failure, transaction.attention
    return pb.Refund(
        refund_id=transaction.id,
        payment_id=of.payment_id,
        state=REFUND_STATES[transaction.state],
        amount=money_fields(transaction.amount),
        shares=[
            {"method": step.phase, "amount": money_fields(step.amount)}
            for step in transaction.steps
            if step.role is Role.GIVES and step.amount is not None
        ],
        failure=None if failure is None else asdict(failure),
        steps=[step_fields(step) for step in transaction.steps],
        attention=None if attention is None else asdict(attention),
        create_time=timestamp(transaction.created_at),
        update_time=timestamp(transaction.updated_at),
        version=transaction.version,
        idempotency_key=transaction.idempotency_key,
        ordinal=of.ordinal,
    )


def refunds_after(request: pb.ListRefundsRequest) -> int:
    """The ordinal that the page begins after. Raises InvalidRequest for a bad token."""
    if not request.page_token:
        return 0
    if not (request.page_token.isascii() and request.page_token.isdigit()):
        raise InvalidRequest([BAD_PAGE_TOKEN])
    return min(int(request.page_token), 2**31 - 1)
