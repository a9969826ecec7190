"""CallbackService: checks who reports, and hands the report on."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, timedelta

from google.protobuf.message import DecodeError
from kessai.participant.v1 import callbacks_pb2 as pb
from kessai.participant.v1 import callbacks_pb2_grpc

from coordinator.domain.errors import BadSignature, InvalidRequest, NoticeExpired, Violation
from coordinator.domain.ids import parse_transaction_id
from coordinator.engine.report import Report
from coordinator.ports import Clock
from coordinator.rpc.gate import Context, Gate, Unread, validate

MAX_AGE_S = 300.0
"""How far a notice's time of signature may be from ours, in seconds."""


class CallbackServicer(callbacks_pb2_grpc.CallbackServiceServicer):
    """The service over the use case. `keys` are what notices are signed with, by participant."""

    def __init__(
        self, *, gate: Gate, report: Report, keys: Mapping[str, bytes], clock: Clock
    ) -> None:
        self._gate = gate
        self._report_use_case = report
        self._keys = dict(keys)
        self._clock = clock

    async def Report(  # noqa: N802 - gRPC
        self, request: Unread[pb.ReportRequest], context: Context
    ) -> pb.ReportResponse:
        """See callbacks.proto."""
        return await self._gate.signed(request, context, self._report)

    async def _report(self, request: pb.ReportRequest, _context: Context) -> pb.ReportResponse:
        key = self._keys.get(request.participant)
        # Compared even without a key: how long it takes tells nobody which participants there are.
        expected = hmac.digest(key or b"", request.notice, "sha256")
        if not hmac.compare_digest(expected, request.signature) or key is None:
            raise BadSignature
        notice = _notice(request.notice)
        signed_at = notice.sign_time.ToDatetime(tzinfo=UTC)
        if abs(self._clock.now() - signed_at) > timedelta(seconds=MAX_AGE_S):
            raise NoticeExpired(MAX_AGE_S)
        answer = notice.answer
        try:
            transaction_id = parse_transaction_id(answer.transaction_id)
        except ValueError:
            text = "must be a UUID"
            raise InvalidRequest(
                [Violation("notice.answer.transaction_id", "BAD_FORMAT", text)]
            ) from None
        await self._report_use_case(request.participant, transaction_id, answer.phase)
        return pb.ReportResponse()


def _notice(data: bytes) -> pb.Notice:
    try:
        notice = pb.Notice.FromString(data)
        notice.sign_time.ToDatetime()
    except (DecodeError, ValueError, OverflowError):
        text = "the bytes are not a Notice"
        raise InvalidRequest([Violation("notice", "MALFORMED", text)]) from None
    validate(notice)
    return notice
