"""What a participant's words mean: turns what `kessai.participant.v1` says into an Outcome.

Two tables hold all the judgement: `_ANSWERS` (operation × status) and `_SUSPICIOUS` (gRPC codes
that mean that the two sides disagree). Nothing else here decides. The rules behind them:

- A refusal is an answer. A gRPC error of any kind is Unknown: the request may have arrived.
- An answer counts only if it echoes what was asked (transaction, phase, amount); otherwise it is
  Unknown, and a person is told.
- REFUSED to a Cancel is a refusal after the decision: it is handed on as Refused, so that the step
  rests for a while and is flagged (design §3.5). It must not count as cancelled: the participant
  may mean "I refuse to undo" as well as "nothing is held".
- Whatever a participant wrote is clipped, freed of control characters and, where the step's source
  is a secret, of that secret, before it goes anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto

import grpc
from kessai.participant.v1 import participant_pb2 as pb

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.money import Money
from coordinator.domain.outcome import (
    CANCELLED_AT_PARTICIPANT,
    UNKNOWN_TRANSACTION,
    Applied,
    NextAction,
    Outcome,
    Pending,
    Refused,
    Unknown,
)
from coordinator.domain.phase import Operation

MAX_CODE = 64
MAX_REASON = 200
MAX_REFERENCE = 128
MAX_URL = 2048


class _Meaning(Enum):
    """What a status means as the answer to an operation. What is in no table is unexpected."""

    APPLIED = auto()
    """Done. The answer must name the amount, and it must be ours."""
    FINAL = auto()
    """Done, and final. What became final must be ours as well."""
    PENDING = auto()
    """Will be decided. The answer must name the amount, and it must be ours."""
    REFUSED = auto()
    """Refused for good, with the participant's code and reason."""
    TOMBSTONE = auto()
    """Refused for good because a Cancel came first."""
    NOTHING_KNOWN = auto()
    """The participant has not seen it: it may still be under way."""


_ANSWERS: Mapping[tuple[Operation, int], _Meaning] = {
    (Operation.TRY, pb.STATUS_HELD): _Meaning.APPLIED,
    (Operation.TRY, pb.STATUS_PENDING): _Meaning.PENDING,
    (Operation.TRY, pb.STATUS_REFUSED): _Meaning.REFUSED,
    (Operation.TRY, pb.STATUS_CANCELLED): _Meaning.TOMBSTONE,
    (Operation.QUERY, pb.STATUS_HELD): _Meaning.APPLIED,
    (Operation.QUERY, pb.STATUS_CONFIRMED): _Meaning.FINAL,
    (Operation.QUERY, pb.STATUS_PENDING): _Meaning.PENDING,
    (Operation.QUERY, pb.STATUS_REFUSED): _Meaning.REFUSED,
    (Operation.QUERY, pb.STATUS_CANCELLED): _Meaning.TOMBSTONE,
    (Operation.QUERY, pb.STATUS_UNKNOWN_TRANSACTION): _Meaning.NOTHING_KNOWN,
    (Operation.CONFIRM, pb.STATUS_CONFIRMED): _Meaning.FINAL,
    (Operation.CONFIRM, pb.STATUS_REFUSED): _Meaning.REFUSED,
    (Operation.CANCEL, pb.STATUS_CANCELLED): _Meaning.APPLIED,
    (Operation.CANCEL, pb.STATUS_REFUSED): _Meaning.REFUSED,
}

_AMOUNT_MAY_BE_UNSET = {_Meaning.REFUSED, _Meaning.TOMBSTONE, _Meaning.NOTHING_KNOWN}
"""A Try may be unknown to whoever answers one of these (and to every Cancel)."""

_SUSPICIOUS = {
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
}
"""The participant understood and disagrees: another amount, a Confirm without a Try, a bad
request."""

_TAKEN_OUT = "[secret]"
_WEB_ADDRESS = re.compile(r"https?://[!-~]+")
_MAY_BE_SECRET = re.compile(r"(?=\S*[0-9_])\S{8,}")
_NOT_CODE = re.compile(r"[^A-Z0-9_]+")


def outcome_of(transaction_id: TransactionId, call: Call, answer: pb.Answer | None) -> Outcome:
    """What an answer means; None is an answer that could not be decoded."""
    if answer is None:
        return Unknown("MALFORMED_ANSWER", "the answer is not of the protocol", suspicious=True)
    meaning = _ANSWERS.get((call.operation, answer.status))
    wrong = _mismatch(transaction_id, call, answer, meaning)
    if wrong:
        return Unknown("ANSWER_MISMATCH", f"the answer has another {wrong}", suspicious=True)
    match meaning:
        case _Meaning.APPLIED:
            return Applied(_reference(call, answer))
        case _Meaning.FINAL:
            # Only a Query can meet what it did not ask for.
            asked = call.operation is Operation.QUERY
            return Applied(_reference(call, answer), confirmed=asked)
        case _Meaning.PENDING:
            return Pending(_reference(call, answer), _next_action(call, answer))
        case _Meaning.REFUSED:
            reason = _clip(call, answer.refusal.reason, MAX_REASON)
            return Refused(
                _code(call, answer.refusal.code) or "REFUSED",
                reason or f"{call.phase.title} refused without a reason",
            )
        case _Meaning.TOMBSTONE:
            return Refused(CANCELLED_AT_PARTICIPANT, f"{call.phase.title} was cancelled before")
        case _Meaning.NOTHING_KNOWN:
            return Unknown(UNKNOWN_TRANSACTION, f"{call.phase.title} knows nothing of it")
        case None:
            status = answer.status
            name = pb.Status.Name(status) if status in pb.Status.values() else str(status)
            detail = f"{name} is no answer to {call.operation}"
            return Unknown("UNEXPECTED_STATUS", detail, suspicious=True)


def outcome_of_error(call: Call, status: grpc.StatusCode, reason: str, details: str) -> Unknown:
    """What an error means: never a refusal, whatever it says.

    reason   the reason of google.rpc.ErrorInfo, or empty
    details  for people
    """
    return Unknown(
        (_code(call, reason) if reason else "") or status.name,
        _clip(call, details, MAX_REASON),
        suspicious=status in _SUSPICIOUS,
    )


def _mismatch(
    transaction_id: TransactionId, call: Call, answer: pb.Answer, meaning: _Meaning | None
) -> str:
    """The field in which the answer is about something else, or an empty string."""
    if answer.transaction_id != transaction_id:
        return "transaction_id"
    if answer.phase != call.phase.name:
        return "phase"
    if not answer.HasField("amount"):
        must = meaning is not None and meaning not in _AMOUNT_MAY_BE_UNSET
        return "amount" if must and call.operation is not Operation.CANCEL else ""
    wrong = _differs(answer.amount, call.step.amount)
    if wrong or meaning is not _Meaning.FINAL:
        return wrong
    # Whoever does not say how much has confirmed all of it.
    confirmed = answer.confirmed if answer.HasField("confirmed") else answer.amount
    return _differs(confirmed, call.step.final)


def _differs(given: pb.Money, money: Money | None) -> str:
    if money is None or given.minor_units != money.minor:
        return "amount"
    return "currency" if given.currency_code != money.currency else ""


def _reference(call: Call, answer: pb.Answer) -> str:
    """The participant's reference; nothing when that could be, or contain, the secret.

    Once the secret is forgotten nobody can tell, and the reference of the Try is kept.
    """
    reference = _clip(call, answer.reference, MAX_REFERENCE)
    return "" if _TAKEN_OUT in reference else reference


def _next_action(call: Call, answer: pb.Answer) -> NextAction | None:
    """What the customer has to do: only a web address, which is what callers hand on."""
    action = answer.next_action
    secret = call.step.source if call.step.secret else ""
    if secret and secret.lower() in f"{action.url} {action.kind}".lower():
        return None
    if len(action.url) > MAX_URL or not _WEB_ADDRESS.fullmatch(action.url):
        return None
    return NextAction(_clip(call, action.kind, MAX_CODE), action.url)


def _code(call: Call, text: str) -> str:
    """`text` as a stable code: capitals, digits and underscores, at most MAX_CODE of them."""
    if not text:
        return ""
    clipped = (_clip(call, text, MAX_CODE) if call.step.source else text).upper()
    return _NOT_CODE.sub("_", clipped).strip("_")[:MAX_CODE]


def _without_secrets(call: Call, text: str) -> str:
    """`text` without the step's secret, in whatever case it is written.

    After the Try the secret is forgotten, so that it cannot be looked for: then every word that
    might be one (eight characters or more, with a digit or an underscore) is taken out.
    """
    step = call.step
    if not step.secret:
        return text
    if step.source:
        return re.sub(re.escape(step.source), _TAKEN_OUT, text, flags=re.IGNORECASE)
    return _MAY_BE_SECRET.sub(_TAKEN_OUT, text)


def _clip(call: Call, text: str, limit: int) -> str:
    """At most `limit` printable characters of `text`, without the step's secret."""
    # Before clipping: half a token at the end would be no less of a leak.
    text = _without_secrets(call, text)[:limit]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)
