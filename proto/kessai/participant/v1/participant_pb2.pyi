# ruff: noqa
# mypy: ignore-errors
import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    STATUS_UNKNOWN_TRANSACTION: _ClassVar[Status]
    STATUS_HELD: _ClassVar[Status]
    STATUS_PENDING: _ClassVar[Status]
    STATUS_REFUSED: _ClassVar[Status]
    STATUS_CONFIRMED: _ClassVar[Status]
    STATUS_CANCELLED: _ClassVar[Status]
STATUS_UNSPECIFIED: Status
STATUS_UNKNOWN_TRANSACTION: Status
STATUS_HELD: Status
STATUS_PENDING: Status
STATUS_REFUSED: Status
STATUS_CONFIRMED: Status
STATUS_CANCELLED: Status

class Money(_message.Message):
    __slots__ = ("currency_code", "minor_units")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    MINOR_UNITS_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    minor_units: int
    def __init__(self, currency_code: _Optional[str] = ..., minor_units: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "reason")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: str
    reason: str
    def __init__(self, code: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class NextAction(_message.Message):
    __slots__ = ("kind", "url")
    KIND_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    kind: str
    url: str
    def __init__(self, kind: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("transaction_id", "phase", "amount", "status", "refusal", "reference", "next_action", "confirmed")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_ACTION_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: str
    amount: Money
    status: Status
    refusal: Refusal
    reference: str
    next_action: NextAction
    confirmed: Money
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[str] = ..., amount: _Optional[_Union[Money, _Mapping]] = ..., status: _Optional[_Union[Status, str]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., reference: _Optional[str] = ..., next_action: _Optional[_Union[NextAction, _Mapping]] = ..., confirmed: _Optional[_Union[Money, _Mapping]] = ...) -> None: ...

class OriginalStep(_message.Message):
    __slots__ = ("transaction_id", "phase")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: str
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[str] = ...) -> None: ...

class TryRequest(_message.Message):
    __slots__ = ("transaction_id", "phase", "amount", "account", "hold_until", "refund_of")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    HOLD_UNTIL_FIELD_NUMBER: _ClassVar[int]
    REFUND_OF_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: str
    amount: Money
    account: str
    hold_until: _timestamp_pb2.Timestamp
    refund_of: OriginalStep
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[str] = ..., amount: _Optional[_Union[Money, _Mapping]] = ..., account: _Optional[str] = ..., hold_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., refund_of: _Optional[_Union[OriginalStep, _Mapping]] = ...) -> None: ...

class TryResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    def __init__(self, answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class ConfirmRequest(_message.Message):
    __slots__ = ("transaction_id", "phase", "amount")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: str
    amount: Money
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[str] = ..., amount: _Optional[_Union[Money, _Mapping]] = ...) -> None: ...

class ConfirmResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    def __init__(self, answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("transaction_id", "phase")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: str
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[str] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    def __init__(self, answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("transaction_id", "phase")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: str
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[str] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    def __init__(self, answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("number", "timeout_millis", "confirm", "cancel", "query")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MILLIS_FIELD_NUMBER: _ClassVar[int]
    TRY_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    number: int
    timeout_millis: int
    confirm: ConfirmRequest
    cancel: CancelRequest
    query: QueryRequest
    def __init__(self, number: _Optional[int] = ..., timeout_millis: _Optional[int] = ..., confirm: _Optional[_Union[ConfirmRequest, _Mapping]] = ..., cancel: _Optional[_Union[CancelRequest, _Mapping]] = ..., query: _Optional[_Union[QueryRequest, _Mapping]] = ..., **kwargs) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "reason", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("number", "answer", "error")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    number: int
    answer: Answer
    error: Error
    def __init__(self, number: _Optional[int] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class PerformRequest(_message.Message):
    __slots__ = ("asks",)
    ASKS_FIELD_NUMBER: _ClassVar[int]
    asks: _containers.RepeatedCompositeFieldContainer[Ask]
    def __init__(self, asks: _Optional[_Iterable[_Union[Ask, _Mapping]]] = ...) -> None: ...

class PerformResponse(_message.Message):
    __slots__ = ("replies",)
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    def __init__(self, replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ...) -> None: ...

class ListTransactionsRequest(_message.Message):
    __slots__ = ("update_time_from", "update_time_to", "page_size", "page_token")
    UPDATE_TIME_FROM_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_TO_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    update_time_from: _timestamp_pb2.Timestamp
    update_time_to: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, update_time_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time_to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListedTransaction(_message.Message):
    __slots__ = ("answer", "update_time")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    answer: Answer
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, answer: _Optional[_Union[Answer, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListTransactionsResponse(_message.Message):
    __slots__ = ("transactions", "next_page_token")
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    transactions: _containers.RepeatedCompositeFieldContainer[ListedTransaction]
    next_page_token: str
    def __init__(self, transactions: _Optional[_Iterable[_Union[ListedTransaction, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
