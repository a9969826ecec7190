# ruff: noqa
# mypy: ignore-errors
import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from kessai.payments.v1 import payments_pb2 as _payments_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PaymentSettled(_message.Message):
    __slots__ = ("payment_id", "caller", "state", "flow", "amount", "merchant_id", "order_id", "customer_id", "failure", "settle_time", "captured_amount", "refunded_amount")
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SETTLE_TIME_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    payment_id: str
    caller: str
    state: _payments_pb2.PaymentState
    flow: str
    amount: _payments_pb2.Money
    merchant_id: str
    order_id: str
    customer_id: str
    failure: _payments_pb2.Failure
    settle_time: _timestamp_pb2.Timestamp
    captured_amount: _payments_pb2.Money
    refunded_amount: _payments_pb2.Money
    def __init__(self, payment_id: _Optional[str] = ..., caller: _Optional[str] = ..., state: _Optional[_Union[_payments_pb2.PaymentState, str]] = ..., flow: _Optional[str] = ..., amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ..., merchant_id: _Optional[str] = ..., order_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., failure: _Optional[_Union[_payments_pb2.Failure, _Mapping]] = ..., settle_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., captured_amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ..., refunded_amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ...) -> None: ...

class RefundSettled(_message.Message):
    __slots__ = ("refund_id", "payment_id", "caller", "state", "flow", "amount", "merchant_id", "customer_id", "failure", "settle_time")
    REFUND_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SETTLE_TIME_FIELD_NUMBER: _ClassVar[int]
    refund_id: str
    payment_id: str
    caller: str
    state: _payments_pb2.RefundState
    flow: str
    amount: _payments_pb2.Money
    merchant_id: str
    customer_id: str
    failure: _payments_pb2.Failure
    settle_time: _timestamp_pb2.Timestamp
    def __init__(self, refund_id: _Optional[str] = ..., payment_id: _Optional[str] = ..., caller: _Optional[str] = ..., state: _Optional[_Union[_payments_pb2.RefundState, str]] = ..., flow: _Optional[str] = ..., amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ..., merchant_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., failure: _Optional[_Union[_payments_pb2.Failure, _Mapping]] = ..., settle_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LateSuccessUndone(_message.Message):
    __slots__ = ("transaction_id", "caller", "phase", "amount", "undo_time")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    UNDO_TIME_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    caller: str
    phase: str
    amount: _payments_pb2.Money
    undo_time: _timestamp_pb2.Timestamp
    def __init__(self, transaction_id: _Optional[str] = ..., caller: _Optional[str] = ..., phase: _Optional[str] = ..., amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ..., undo_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AttentionNeeded(_message.Message):
    __slots__ = ("transaction_id", "caller", "flow", "amount", "code", "reason", "raise_time")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RAISE_TIME_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    caller: str
    flow: str
    amount: _payments_pb2.Money
    code: str
    reason: str
    raise_time: _timestamp_pb2.Timestamp
    def __init__(self, transaction_id: _Optional[str] = ..., caller: _Optional[str] = ..., flow: _Optional[str] = ..., amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ..., raise_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
