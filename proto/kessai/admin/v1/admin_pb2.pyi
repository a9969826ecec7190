# ruff: noqa
# mypy: ignore-errors
import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from kessai.payments.v1 import payments_pb2 as _payments_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OperatorAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATOR_ACTION_UNSPECIFIED: _ClassVar[OperatorAction]
    OPERATOR_ACTION_RESUME: _ClassVar[OperatorAction]
    OPERATOR_ACTION_HOLD: _ClassVar[OperatorAction]
    OPERATOR_ACTION_UNHOLD: _ClassVar[OperatorAction]
    OPERATOR_ACTION_CANCEL: _ClassVar[OperatorAction]
    OPERATOR_ACTION_RESOLVE: _ClassVar[OperatorAction]

class StepAnswer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEP_ANSWER_UNSPECIFIED: _ClassVar[StepAnswer]
    STEP_ANSWER_CONFIRMED: _ClassVar[StepAnswer]
    STEP_ANSWER_CANCELLED: _ClassVar[StepAnswer]

class BreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_STATE_UNSPECIFIED: _ClassVar[BreakerState]
    BREAKER_STATE_CLOSED: _ClassVar[BreakerState]
    BREAKER_STATE_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_HALF_OPEN: _ClassVar[BreakerState]

class Reachability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REACHABILITY_UNSPECIFIED: _ClassVar[Reachability]
    REACHABILITY_SERVING: _ClassVar[Reachability]
    REACHABILITY_NOT_SERVING: _ClassVar[Reachability]
    REACHABILITY_UNREACHABLE: _ClassVar[Reachability]
    REACHABILITY_NO_HEALTH_CHECK: _ClassVar[Reachability]

class CheckStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHECK_STATUS_UNSPECIFIED: _ClassVar[CheckStatus]
    CHECK_STATUS_OK: _ClassVar[CheckStatus]
    CHECK_STATUS_WARNING: _ClassVar[CheckStatus]
    CHECK_STATUS_FAILED: _ClassVar[CheckStatus]
OPERATOR_ACTION_UNSPECIFIED: OperatorAction
OPERATOR_ACTION_RESUME: OperatorAction
OPERATOR_ACTION_HOLD: OperatorAction
OPERATOR_ACTION_UNHOLD: OperatorAction
OPERATOR_ACTION_CANCEL: OperatorAction
OPERATOR_ACTION_RESOLVE: OperatorAction
STEP_ANSWER_UNSPECIFIED: StepAnswer
STEP_ANSWER_CONFIRMED: StepAnswer
STEP_ANSWER_CANCELLED: StepAnswer
BREAKER_STATE_UNSPECIFIED: BreakerState
BREAKER_STATE_CLOSED: BreakerState
BREAKER_STATE_OPEN: BreakerState
BREAKER_STATE_HALF_OPEN: BreakerState
REACHABILITY_UNSPECIFIED: Reachability
REACHABILITY_SERVING: Reachability
REACHABILITY_NOT_SERVING: Reachability
REACHABILITY_UNREACHABLE: Reachability
REACHABILITY_NO_HEALTH_CHECK: Reachability
CHECK_STATUS_UNSPECIFIED: CheckStatus
CHECK_STATUS_OK: CheckStatus
CHECK_STATUS_WARNING: CheckStatus
CHECK_STATUS_FAILED: CheckStatus

class Hold(_message.Message):
    __slots__ = ("operator", "reason")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    operator: str
    reason: str
    def __init__(self, operator: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "reason")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: str
    reason: str
    def __init__(self, code: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("phase", "participant", "status", "amount", "final_amount", "attempts", "last_error", "refusal", "participant_reference", "next_attempt_time", "next_action")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    FINAL_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_ACTION_FIELD_NUMBER: _ClassVar[int]
    phase: str
    participant: str
    status: _payments_pb2.StepStatus
    amount: _payments_pb2.Money
    final_amount: _payments_pb2.Money
    attempts: int
    last_error: str
    refusal: Refusal
    participant_reference: str
    next_attempt_time: _timestamp_pb2.Timestamp
    next_action: _payments_pb2.NextAction
    def __init__(self, phase: _Optional[str] = ..., participant: _Optional[str] = ..., status: _Optional[_Union[_payments_pb2.StepStatus, str]] = ..., amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ..., final_amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ..., attempts: _Optional[int] = ..., last_error: _Optional[str] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., participant_reference: _Optional[str] = ..., next_attempt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_action: _Optional[_Union[_payments_pb2.NextAction, _Mapping]] = ...) -> None: ...

class Transaction(_message.Message):
    __slots__ = ("transaction_id", "refund_of", "caller", "flow", "state", "state_time", "amount", "merchant_id", "order_id", "customer_id", "steps", "failure", "attention", "hold", "due_time", "reserve_until", "capture", "create_time", "update_time", "version")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    REFUND_OF_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_TIME_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    RESERVE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    refund_of: str
    caller: str
    flow: str
    state: _payments_pb2.PaymentState
    state_time: _timestamp_pb2.Timestamp
    amount: _payments_pb2.Money
    merchant_id: str
    order_id: str
    customer_id: str
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    failure: _payments_pb2.Failure
    attention: _payments_pb2.Attention
    hold: Hold
    due_time: _timestamp_pb2.Timestamp
    reserve_until: _timestamp_pb2.Timestamp
    capture: _payments_pb2.CaptureMode
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    version: int
    def __init__(self, transaction_id: _Optional[str] = ..., refund_of: _Optional[str] = ..., caller: _Optional[str] = ..., flow: _Optional[str] = ..., state: _Optional[_Union[_payments_pb2.PaymentState, str]] = ..., state_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., amount: _Optional[_Union[_payments_pb2.Money, _Mapping]] = ..., merchant_id: _Optional[str] = ..., order_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., failure: _Optional[_Union[_payments_pb2.Failure, _Mapping]] = ..., attention: _Optional[_Union[_payments_pb2.Attention, _Mapping]] = ..., hold: _Optional[_Union[Hold, _Mapping]] = ..., due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reserve_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., capture: _Optional[_Union[_payments_pb2.CaptureMode, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class TransactionFilter(_message.Message):
    __slots__ = ("states", "live", "needs_attention", "held", "min_time_in_state", "participant", "error_code", "caller", "flow")
    STATES_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    NEEDS_ATTENTION_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    MIN_TIME_IN_STATE_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[_payments_pb2.PaymentState]
    live: bool
    needs_attention: bool
    held: bool
    min_time_in_state: _duration_pb2.Duration
    participant: str
    error_code: str
    caller: str
    flow: str
    def __init__(self, states: _Optional[_Iterable[_Union[_payments_pb2.PaymentState, str]]] = ..., live: _Optional[bool] = ..., needs_attention: _Optional[bool] = ..., held: _Optional[bool] = ..., min_time_in_state: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., participant: _Optional[str] = ..., error_code: _Optional[str] = ..., caller: _Optional[str] = ..., flow: _Optional[str] = ...) -> None: ...

class ListTransactionsRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: TransactionFilter
    page_size: int
    page_token: str
    def __init__(self, filter: _Optional[_Union[TransactionFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTransactionsResponse(_message.Message):
    __slots__ = ("transactions", "next_page_token")
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    transactions: _containers.RepeatedCompositeFieldContainer[Transaction]
    next_page_token: str
    def __init__(self, transactions: _Optional[_Iterable[_Union[Transaction, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CountTransactionsRequest(_message.Message):
    __slots__ = ("filter", "at_most")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_FIELD_NUMBER: _ClassVar[int]
    filter: TransactionFilter
    at_most: int
    def __init__(self, filter: _Optional[_Union[TransactionFilter, _Mapping]] = ..., at_most: _Optional[int] = ...) -> None: ...

class CountTransactionsResponse(_message.Message):
    __slots__ = ("count", "count_is_lower_bound")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    COUNT_IS_LOWER_BOUND_FIELD_NUMBER: _ClassVar[int]
    count: int
    count_is_lower_bound: bool
    def __init__(self, count: _Optional[int] = ..., count_is_lower_bound: _Optional[bool] = ...) -> None: ...

class ActionVerdict(_message.Message):
    __slots__ = ("action", "allowed", "code", "reason")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    action: OperatorAction
    allowed: bool
    code: str
    reason: str
    def __init__(self, action: _Optional[_Union[OperatorAction, str]] = ..., allowed: _Optional[bool] = ..., code: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class StepAnswers(_message.Message):
    __slots__ = ("phase", "answers", "reason")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    phase: str
    answers: _containers.RepeatedScalarFieldContainer[StepAnswer]
    reason: str
    def __init__(self, phase: _Optional[str] = ..., answers: _Optional[_Iterable[_Union[StepAnswer, str]]] = ..., reason: _Optional[str] = ...) -> None: ...

class Wait(_message.Message):
    __slots__ = ("code", "phase", "sentence", "until_time")
    CODE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    code: str
    phase: str
    sentence: str
    until_time: _timestamp_pb2.Timestamp
    def __init__(self, code: _Optional[str] = ..., phase: _Optional[str] = ..., sentence: _Optional[str] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("owner", "remaining", "here")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    HERE_FIELD_NUMBER: _ClassVar[int]
    owner: str
    remaining: _duration_pb2.Duration
    here: bool
    def __init__(self, owner: _Optional[str] = ..., remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., here: _Optional[bool] = ...) -> None: ...

class JournalEntry(_message.Message):
    __slots__ = ("sequence", "time", "kind", "event", "from_state", "to_state", "phase", "operation", "attempt", "outcome", "code", "detail", "actor", "evidence")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    FROM_STATE_FIELD_NUMBER: _ClassVar[int]
    TO_STATE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    kind: str
    event: str
    from_state: _payments_pb2.PaymentState
    to_state: _payments_pb2.PaymentState
    phase: str
    operation: str
    attempt: int
    outcome: str
    code: str
    detail: str
    actor: str
    evidence: str
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., event: _Optional[str] = ..., from_state: _Optional[_Union[_payments_pb2.PaymentState, str]] = ..., to_state: _Optional[_Union[_payments_pb2.PaymentState, str]] = ..., phase: _Optional[str] = ..., operation: _Optional[str] = ..., attempt: _Optional[int] = ..., outcome: _Optional[str] = ..., code: _Optional[str] = ..., detail: _Optional[str] = ..., actor: _Optional[str] = ..., evidence: _Optional[str] = ...) -> None: ...

class ExplainTransactionRequest(_message.Message):
    __slots__ = ("transaction_id", "journal_lines")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_LINES_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    journal_lines: int
    def __init__(self, transaction_id: _Optional[str] = ..., journal_lines: _Optional[int] = ...) -> None: ...

class ExplainTransactionResponse(_message.Message):
    __slots__ = ("transaction", "claim", "waits", "actions", "resolvable", "journal", "earlier_lines", "now")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    RESOLVABLE_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    EARLIER_LINES_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    transaction: Transaction
    claim: Claim
    waits: _containers.RepeatedCompositeFieldContainer[Wait]
    actions: _containers.RepeatedCompositeFieldContainer[ActionVerdict]
    resolvable: _containers.RepeatedCompositeFieldContainer[StepAnswers]
    journal: _containers.RepeatedCompositeFieldContainer[JournalEntry]
    earlier_lines: int
    now: _timestamp_pb2.Timestamp
    def __init__(self, transaction: _Optional[_Union[Transaction, _Mapping]] = ..., claim: _Optional[_Union[Claim, _Mapping]] = ..., waits: _Optional[_Iterable[_Union[Wait, _Mapping]]] = ..., actions: _Optional[_Iterable[_Union[ActionVerdict, _Mapping]]] = ..., resolvable: _Optional[_Iterable[_Union[StepAnswers, _Mapping]]] = ..., journal: _Optional[_Iterable[_Union[JournalEntry, _Mapping]]] = ..., earlier_lines: _Optional[int] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResumeTransactionRequest(_message.Message):
    __slots__ = ("transaction_id", "reason", "if_version")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    reason: str
    if_version: int
    def __init__(self, transaction_id: _Optional[str] = ..., reason: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class ResumeTransactionResponse(_message.Message):
    __slots__ = ("transaction",)
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    transaction: Transaction
    def __init__(self, transaction: _Optional[_Union[Transaction, _Mapping]] = ...) -> None: ...

class HoldTransactionRequest(_message.Message):
    __slots__ = ("transaction_id", "reason", "if_version")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    reason: str
    if_version: int
    def __init__(self, transaction_id: _Optional[str] = ..., reason: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class HoldTransactionResponse(_message.Message):
    __slots__ = ("transaction", "changed")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    transaction: Transaction
    changed: bool
    def __init__(self, transaction: _Optional[_Union[Transaction, _Mapping]] = ..., changed: _Optional[bool] = ...) -> None: ...

class UnholdTransactionRequest(_message.Message):
    __slots__ = ("transaction_id", "reason", "if_version")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    reason: str
    if_version: int
    def __init__(self, transaction_id: _Optional[str] = ..., reason: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class UnholdTransactionResponse(_message.Message):
    __slots__ = ("transaction", "changed")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    transaction: Transaction
    changed: bool
    def __init__(self, transaction: _Optional[_Union[Transaction, _Mapping]] = ..., changed: _Optional[bool] = ...) -> None: ...

class CancelTransactionRequest(_message.Message):
    __slots__ = ("transaction_id", "reason", "if_version")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    reason: str
    if_version: int
    def __init__(self, transaction_id: _Optional[str] = ..., reason: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class CancelTransactionResponse(_message.Message):
    __slots__ = ("transaction", "changed")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    transaction: Transaction
    changed: bool
    def __init__(self, transaction: _Optional[_Union[Transaction, _Mapping]] = ..., changed: _Optional[bool] = ...) -> None: ...

class ResolveStepRequest(_message.Message):
    __slots__ = ("transaction_id", "phase", "answer", "reason", "evidence", "if_version")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: str
    answer: StepAnswer
    reason: str
    evidence: str
    if_version: int
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[str] = ..., answer: _Optional[_Union[StepAnswer, str]] = ..., reason: _Optional[str] = ..., evidence: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class ResolveStepResponse(_message.Message):
    __slots__ = ("transaction", "participant_said")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_SAID_FIELD_NUMBER: _ClassVar[int]
    transaction: Transaction
    participant_said: str
    def __init__(self, transaction: _Optional[_Union[Transaction, _Mapping]] = ..., participant_said: _Optional[str] = ...) -> None: ...

class Pause(_message.Message):
    __slots__ = ("operator", "reason", "since_time", "until_time")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    operator: str
    reason: str
    since_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    def __init__(self, operator: _Optional[str] = ..., reason: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Flow(_message.Message):
    __slots__ = ("name", "phases", "participants", "pause", "served")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    name: str
    phases: _containers.RepeatedScalarFieldContainer[str]
    participants: _containers.RepeatedScalarFieldContainer[str]
    pause: Pause
    served: bool
    def __init__(self, name: _Optional[str] = ..., phases: _Optional[_Iterable[str]] = ..., participants: _Optional[_Iterable[str]] = ..., pause: _Optional[_Union[Pause, _Mapping]] = ..., served: _Optional[bool] = ...) -> None: ...

class ListFlowsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFlowsResponse(_message.Message):
    __slots__ = ("flows",)
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    flows: _containers.RepeatedCompositeFieldContainer[Flow]
    def __init__(self, flows: _Optional[_Iterable[_Union[Flow, _Mapping]]] = ...) -> None: ...

class PauseFlowRequest(_message.Message):
    __slots__ = ("flow", "reason")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    flow: str
    reason: str
    def __init__(self, flow: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PauseFlowResponse(_message.Message):
    __slots__ = ("flow",)
    FLOW_FIELD_NUMBER: _ClassVar[int]
    flow: Flow
    def __init__(self, flow: _Optional[_Union[Flow, _Mapping]] = ...) -> None: ...

class ResumeFlowRequest(_message.Message):
    __slots__ = ("flow",)
    FLOW_FIELD_NUMBER: _ClassVar[int]
    flow: str
    def __init__(self, flow: _Optional[str] = ...) -> None: ...

class ResumeFlowResponse(_message.Message):
    __slots__ = ("flow", "changed")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    flow: Flow
    changed: bool
    def __init__(self, flow: _Optional[_Union[Flow, _Mapping]] = ..., changed: _Optional[bool] = ...) -> None: ...

class Participant(_message.Message):
    __slots__ = ("name", "address", "phases", "breaker", "calls_in_flight", "reachability", "detail", "waiting", "oldest_waiting")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    CALLS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    REACHABILITY_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    OLDEST_WAITING_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    phases: _containers.RepeatedScalarFieldContainer[str]
    breaker: BreakerState
    calls_in_flight: int
    reachability: Reachability
    detail: str
    waiting: int
    oldest_waiting: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., phases: _Optional[_Iterable[str]] = ..., breaker: _Optional[_Union[BreakerState, str]] = ..., calls_in_flight: _Optional[int] = ..., reachability: _Optional[_Union[Reachability, str]] = ..., detail: _Optional[str] = ..., waiting: _Optional[int] = ..., oldest_waiting: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ListParticipantsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListParticipantsResponse(_message.Message):
    __slots__ = ("participants",)
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    participants: _containers.RepeatedCompositeFieldContainer[Participant]
    def __init__(self, participants: _Optional[_Iterable[_Union[Participant, _Mapping]]] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("name", "status", "finding", "advice")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    name: str
    status: CheckStatus
    finding: str
    advice: str
    def __init__(self, name: _Optional[str] = ..., status: _Optional[_Union[CheckStatus, str]] = ..., finding: _Optional[str] = ..., advice: _Optional[str] = ...) -> None: ...

class CheckHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckHealthResponse(_message.Message):
    __slots__ = ("checks",)
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[Check]
    def __init__(self, checks: _Optional[_Iterable[_Union[Check, _Mapping]]] = ...) -> None: ...
