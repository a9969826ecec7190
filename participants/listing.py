"""What a participant knows, read page by page for reconciliation.

Pages follow a key, (update_time, transaction_id, phase), so that nothing is listed twice or left
out while rows come in. A row that changes between two pages moves to the end and may be listed
again, as it stands then. A change gets its time just before its commit, so a window should end some
seconds in the past.
"""

from __future__ import annotations

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from kessai.participant.v1 import participant_pb2 as pb

from participants.errors import InvalidPageToken
from participants.fence_table import FENCE, FenceRow

DEFAULT_PAGE_SIZE = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def present(row: FenceRow) -> pb.Answer:
    """The answer that holds now."""
    assert row.present_answer is not None, "a committed row has a present answer"
    return pb.Answer.FromString(row.present_answer)


def list_page(
    connection: sa.Connection, request: pb.ListTransactionsRequest
) -> pb.ListTransactionsResponse:
    """A page, oldest change first. Raises InvalidPageToken."""
    size = request.page_size or DEFAULT_PAGE_SIZE
    key = (FENCE.c.update_time, FENCE.c.transaction_id, FENCE.c.phase)
    query = sa.select(*key, FENCE.c.present_answer).order_by(*key).limit(size + 1)
    if request.HasField("update_time_from"):
        query = query.where(FENCE.c.update_time >= _moment(request.update_time_from))
    if request.HasField("update_time_to"):
        query = query.where(FENCE.c.update_time < _moment(request.update_time_to))
    if request.page_token:
        query = query.where(sa.tuple_(*key) > _read_token(request.page_token))
    rows = connection.execute(query).all()
    response = pb.ListTransactionsResponse()
    for row in rows[:size]:
        listed = response.transactions.add(answer=pb.Answer.FromString(row.present_answer))
        listed.update_time.FromDatetime(row.update_time)
    if len(rows) > size:
        last = rows[size - 1]
        response.next_page_token = _make_token(last.update_time, last.transaction_id, last.phase)
    return response


def _moment(time: Timestamp) -> datetime:
    """The first microsecond that is not before `time`; a row's time has no finer digits."""
    ceiling = -(-time.nanos // 1000)
    try:
        return _EPOCH + timedelta(seconds=time.seconds, microseconds=ceiling)
    except OverflowError:
        raise InvalidPageToken("the times are out of range") from None


def _make_token(update_time: datetime, transaction_id: UUID, phase: str) -> str:
    micros = (update_time - _EPOCH) // _MICROSECOND
    packed = struct.pack(">q16s", micros, transaction_id.bytes) + phase.encode()
    return base64.urlsafe_b64encode(packed).decode()


def _read_token(token: str) -> sa.Tuple:
    try:
        packed = base64.urlsafe_b64decode(token.encode())
        micros, raw_id = struct.unpack_from(">q16s", packed)
        phase = packed[struct.calcsize(">q16s") :].decode()
        update_time = _EPOCH + timedelta(microseconds=micros)
    except (ValueError, binascii.Error, struct.error, OverflowError):
        raise InvalidPageToken("not a page token of this participant") from None
    if "\0" in phase:  # PostgreSQL's text cannot hold it
        raise InvalidPageToken("not a page token of this participant")
    return sa.tuple_(
        sa.literal(update_time, FENCE.c.update_time.type),
        sa.literal(UUID(bytes=raw_id), sa.Uuid()),
        sa.literal(phase, sa.Text()),
    )
