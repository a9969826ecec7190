"""The fence: what makes Try, Confirm and Cancel safe to repeat, reorder, delay and lose.

One row per (transaction_id, phase) changes in the same local transaction as the money, so a crash
leaves both or neither. A service brings its money as a `Business`; the fence does the rest.

Which answer a repeat gets was worth deciding:

Try
  - the same Try came before, and no Cancel since: the first Try's answer, byte for byte. HELD even
    after the Confirm, PENDING even after the decision; Query tells what holds now.
  - after a Cancel, of a hold or of nothing: CANCELLED, always the same bytes, and nothing is held.
    "HELD" would no longer be true, and a late Try may come when the payment is long over.
  - another amount, currency, account or step to refund: ALREADY_EXISTS, DIFFERENT_REQUEST.
Confirm
  - confirmed or refused before: the first Confirm's answer, byte for byte, even when a Cancel
    followed the refusal.
  - another amount than the first Confirm's, or another currency than the Try's: ALREADY_EXISTS,
    DIFFERENT_REQUEST. The first Confirm decides how much becomes final.
  - more than the Try's amount: FAILED_PRECONDITION, MORE_THAN_HELD; nothing is remembered.
  - no Try, or it is pending or was refused: FAILED_PRECONDITION, NOT_HELD; nothing is remembered.
  - after a Cancel: FAILED_PRECONDITION, ALREADY_CANCELLED.
Cancel
  - cancelled before: the first Cancel's answer, byte for byte.
  - no Try, or it was refused: CANCELLED; moves nothing and is remembered.
  - after a refused Confirm: CANCELLED; gives the hold back.
  - confirmed: FAILED_PRECONDITION, ALREADY_CONFIRMED.

A refund is a Try of its own, and all of the above holds for it; `refunds` sees to it that refunds
never exceed what was confirmed.

Only answers are remembered. An error changes nothing, and the same request may succeed later.

The first Try that meets a tombstone is remembered too: its answer echoes its amount, and from then
on another amount is refused. Answers are stored serialized; protobuf writes known fields in the
order of their numbers, so parsing and serializing them again gives the same bytes.

Rows must be kept for as long as a request may still come; the reference services keep them for
ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from participants import fence_table, listing, refunds
from participants.business import (
    Business,
    Confirmed,
    Held,
    HoldRequest,
    OpenTry,
    OriginalStep,
    Pending,
    Refused,
    TryOutcome,
)
from participants.database import create_tables, in_transaction
from participants.errors import (
    AlreadyCancelled,
    AlreadyConfirmed,
    DifferentRequest,
    MoreThanHeld,
    NotHeld,
)
from participants.fence_table import FENCE_METADATA, OPEN, FenceRow, FenceStatus

Request: TypeAlias = pb.TryRequest | pb.ConfirmRequest | pb.CancelRequest | pb.QueryRequest
"""What a fence is asked about one (transaction_id, phase)."""
Settle: TypeAlias = Callable[[sa.Connection, OpenTry], Held | Refused]
"""Decides a pending Try inside the fence's transaction; as bound as the methods of `Business`."""

_HURRY = sa.text("SET LOCAL lock_timeout = '200ms'")


class Fence:
    """Answers the participant protocol's requests for one `Business`.

    Requests must have been validated. Every method raises a FenceError when it did nothing, and
    lets through what the business raises (then nothing was done either). Methods may be called from
    many threads and many processes at once.
    """

    def __init__(self, engine: sa.Engine, business: Business) -> None:
        self._engine = engine
        self._business = business

    def create_tables(self) -> None:
        """Creates the fence's table if it is missing."""
        create_tables(self._engine, FENCE_METADATA)

    def try_(self, request: pb.TryRequest) -> pb.TryResponse:
        """Holds, once. Raises DifferentRequest."""
        return pb.TryResponse(answer=self._answer_alone(request))

    def confirm(self, request: pb.ConfirmRequest) -> pb.ConfirmResponse:
        """Makes a hold final, or a part of it, once.

        Raises DifferentRequest, NotHeld, MoreThanHeld, AlreadyCancelled.
        """
        return pb.ConfirmResponse(answer=self._answer_alone(request))

    def cancel(self, request: pb.CancelRequest) -> pb.CancelResponse:
        """Undoes a Try, once, whether or not it ever arrived. Raises AlreadyConfirmed."""
        return pb.CancelResponse(answer=self._answer_alone(request))

    def query(self, request: pb.QueryRequest) -> pb.QueryResponse:
        """What holds now; changes nothing."""
        return pb.QueryResponse(answer=self._answer_alone(request))

    def answer_together(self, requests: Sequence[Request]) -> list[pb.Answer]:
        """Answers all in one local transaction: all are answered, or nothing of it was done.

        It waits less long for others than a request of its own does: what meets somebody there is
        better asked alone. Raises what the methods above raise, and then nothing was done.
        """

        def work(connection: sa.Connection) -> list[bytes]:
            connection.execute(_HURRY)
            return [self._answer(connection, each) for each in requests]

        return [pb.Answer.FromString(each) for each in in_transaction(self._engine, work)]

    def list_transactions(self, request: pb.ListTransactionsRequest) -> pb.ListTransactionsResponse:
        """A page, oldest change first. Raises InvalidPageToken."""
        return in_transaction(
            self._engine, lambda connection: listing.list_page(connection, request)
        )

    def decide(self, transaction_id: str, phase: str, settle: Settle) -> pb.Answer:
        """Decides a pending Try by `settle`, once, and returns the answer that holds then.

        A Try that is no longer pending is left as it is and `settle` is not called. Raises NotHeld
        when there is no such Try.
        """
        return in_transaction(
            self._engine,
            lambda connection: self._decide(connection, UUID(transaction_id), phase, settle),
        )

    def _answer_alone(self, request: Request) -> pb.Answer:
        found = in_transaction(self._engine, lambda connection: self._answer(connection, request))
        return pb.Answer.FromString(found)

    def _answer(self, connection: sa.Connection, request: Request) -> bytes:
        match request:
            case pb.TryRequest():
                return self._try(connection, request)
            case pb.ConfirmRequest():
                return self._confirm(connection, request)
            case pb.CancelRequest():
                return self._cancel(connection, request)
            case pb.QueryRequest():
                return self._query(connection, request)

    def _try(self, connection: sa.Connection, request: pb.TryRequest) -> bytes:
        row = fence_table.claim(connection, UUID(request.transaction_id), request.phase)
        digest = fence_table.digest(row.transaction_id, row.phase, request.account)
        refund_of = refunds.original_of(request)
        if row.try_answer is not None:
            _require_same_try(row, request.amount, digest, refund_of)
            return _bytes(row.present_answer if _is_cancelled(row) else row.try_answer)
        if _is_cancelled(row):
            answer = _answer(request, request.amount, pb.STATUS_CANCELLED)
            status = FenceStatus.CANCELLED
        else:
            status, answer = _tried(request, self._hold(connection, row, request, refund_of))
        stored = _serialize(answer)
        fence_table.write(
            connection,
            row,
            status=status,
            currency_code=request.amount.currency_code,
            amount_minor=request.amount.minor_units,
            account_digest=digest,
            refund_of_transaction_id=None if refund_of is None else refund_of.transaction_id,
            refund_of_phase=None if refund_of is None else refund_of.phase,
            reference=answer.reference,
            try_answer=stored,
            present_answer=stored,
        )
        return stored

    def _hold(
        self,
        connection: sa.Connection,
        row: FenceRow,
        request: pb.TryRequest,
        refund_of: OriginalStep | None,
    ) -> TryOutcome:
        if refund_of is not None:
            refusal = refunds.why_refused(connection, refund_of, request.amount)
            if refusal is not None:
                return refusal
        outcome = self._business.hold(
            connection,
            HoldRequest(
                transaction_id=row.transaction_id,
                phase=row.phase,
                currency_code=request.amount.currency_code,
                amount_minor=request.amount.minor_units,
                account=request.account,
                hold_until=_time(request),
                refund_of=refund_of,
            ),
        )
        if refund_of is not None and not isinstance(outcome, Refused):
            refunds.take(connection, refund_of, request.amount.minor_units)
        return outcome

    def _confirm(self, connection: sa.Connection, request: pb.ConfirmRequest) -> bytes:
        row = fence_table.read(connection, UUID(request.transaction_id), request.phase, lock=True)
        if row is None:
            raise NotHeld("no Try of this transaction has arrived")
        _require_same_confirm(row, request.amount)
        if row.confirm_answer is not None:
            return row.confirm_answer
        if _is_cancelled(row):
            raise AlreadyCancelled("the transaction was cancelled")
        if row.status is not FenceStatus.HELD:
            raise NotHeld(f"the Try is {row.status.lower()}")
        held, final_minor = _open_try(row), request.amount.minor_units
        if final_minor > held.amount_minor:
            raise MoreThanHeld(f"{final_minor} is more than the {held.amount_minor} that was held")
        refunds.lock_original(connection, row)
        outcome = self._business.confirm(connection, held, final_minor)
        if isinstance(outcome, Confirmed):
            status = FenceStatus.CONFIRMED
            answer = _answer(request, _amount(row), pb.STATUS_CONFIRMED)
            answer.confirmed.CopyFrom(request.amount)
            answer.reference = outcome.reference or row.reference
            refunds.give_back(connection, row, held.amount_minor - final_minor)
        else:
            status = FenceStatus.CONFIRM_REFUSED
            answer = _refused(request, _amount(row), outcome)
            answer.reference = row.reference
        stored = _serialize(answer)
        fence_table.write(
            connection,
            row,
            status=status,
            reference=answer.reference,
            confirm_minor=final_minor,
            confirm_answer=stored,
            present_answer=stored,
        )
        return stored

    def _cancel(self, connection: sa.Connection, request: pb.CancelRequest) -> bytes:
        row = fence_table.claim(connection, UUID(request.transaction_id), request.phase)
        if row.cancel_answer is not None:
            return row.cancel_answer
        if row.status is FenceStatus.CONFIRMED:
            raise AlreadyConfirmed("the transaction was confirmed; a refund gives it back")
        if row.status in OPEN:
            held = _open_try(row)
            refunds.lock_original(connection, row)
            self._business.cancel(connection, held)
            refunds.give_back(connection, row, held.amount_minor)
        answer = _answer(request, _amount(row), pb.STATUS_CANCELLED)
        answer.reference = row.reference
        stored = _serialize(answer)
        fence_table.write(
            connection,
            row,
            status=FenceStatus.CANCELLED,
            cancel_answer=stored,
            present_answer=stored,
        )
        return stored

    @staticmethod
    def _query(connection: sa.Connection, request: pb.QueryRequest) -> bytes:
        row = fence_table.read(connection, UUID(request.transaction_id), request.phase)
        if row is not None:
            return _bytes(row.present_answer)
        return _serialize(_answer(request, None, pb.STATUS_UNKNOWN_TRANSACTION))

    def _decide(
        self, connection: sa.Connection, transaction_id: UUID, phase: str, settle: Settle
    ) -> pb.Answer:
        row = fence_table.read(connection, transaction_id, phase, lock=True)
        if row is None:
            raise NotHeld("no Try of this transaction has arrived")
        present = listing.present(row)
        if row.status is not FenceStatus.PENDING:
            return present
        held = _open_try(row)
        refunds.lock_original(connection, row)
        outcome = settle(connection, held)
        if isinstance(outcome, Refused):
            refunds.give_back(connection, row, held.amount_minor)
        status, answer = _tried(present, outcome)
        answer.reference = answer.reference or row.reference
        fence_table.write(
            connection,
            row,
            status=status,
            reference=answer.reference,
            present_answer=_serialize(answer),
        )
        return answer


def _answer(named: Request | pb.Answer, amount: pb.Money | None, status: pb.Status) -> pb.Answer:
    return pb.Answer(
        transaction_id=named.transaction_id, phase=named.phase, amount=amount, status=status
    )


def _refused(named: Request | pb.Answer, amount: pb.Money | None, outcome: Refused) -> pb.Answer:
    answer = _answer(named, amount, pb.STATUS_REFUSED)
    answer.refusal.CopyFrom(pb.Refusal(code=outcome.code, reason=outcome.reason))
    return answer


def _tried(named: pb.TryRequest | pb.Answer, outcome: TryOutcome) -> tuple[FenceStatus, pb.Answer]:
    """How a Try stands after `outcome`, and the answer that says so."""
    match outcome:
        case Refused():
            return FenceStatus.REFUSED, _refused(named, named.amount, outcome)
        case Held():
            answer = _answer(named, named.amount, pb.STATUS_HELD)
            answer.reference = outcome.reference
            return FenceStatus.HELD, answer
        case Pending():
            answer = _answer(named, named.amount, pb.STATUS_PENDING)
            answer.reference = outcome.reference
            if outcome.kind or outcome.url:
                answer.next_action.CopyFrom(pb.NextAction(kind=outcome.kind, url=outcome.url))
            return FenceStatus.PENDING, answer


def _serialize(answer: pb.Answer) -> bytes:
    return answer.SerializeToString(deterministic=True)


def _bytes(stored: bytes | None) -> bytes:
    assert stored is not None, "a committed row has a present answer"
    return stored


def _time(request: pb.TryRequest) -> datetime | None:
    return request.hold_until.ToDatetime(UTC) if request.HasField("hold_until") else None


def _is_cancelled(row: FenceRow) -> bool:
    return row.status is FenceStatus.CANCELLED


def _amount(row: FenceRow) -> pb.Money | None:
    """The Try's amount; None where no Try is known."""
    if row.amount_minor is None or row.currency_code is None:
        return None
    return pb.Money(currency_code=row.currency_code, minor_units=row.amount_minor)


def _open_try(row: FenceRow) -> OpenTry:
    assert row.amount_minor is not None
    assert row.currency_code is not None
    return OpenTry(
        transaction_id=row.transaction_id,
        phase=row.phase,
        currency_code=row.currency_code,
        amount_minor=row.amount_minor,
        reference=row.reference,
        refund_of=row.refund_of,
    )


def _require_same_try(
    row: FenceRow, amount: pb.Money, digest: bytes, refund_of: OriginalStep | None
) -> None:
    _require_equal(
        ("amount.currency_code", row.currency_code, amount.currency_code),
        ("amount.minor_units", row.amount_minor, amount.minor_units),
        ("account", row.account_digest, digest),
        ("refund_of", row.refund_of, refund_of),
    )


def _require_same_confirm(row: FenceRow, amount: pb.Money) -> None:
    """The Try's currency, where a Try is known, and the first Confirm's amount after one."""
    if row.currency_code is not None:
        _require_equal(("amount.currency_code", row.currency_code, amount.currency_code))
    if row.asked_minor is not None:
        _require_equal(("amount.minor_units", row.asked_minor, amount.minor_units))


def _require_equal(*fields: tuple[str, object, object]) -> None:
    """Raises DifferentRequest, naming the fields whose first and present values differ."""
    differing = [name for name, first, present in fields if first != present]
    if differing:
        raise DifferentRequest("differs from the first request in " + ", ".join(differing))
