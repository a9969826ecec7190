"""Reports that participants sign."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime

from kessai.participant.v1 import callbacks_pb2
from kessai.participant.v1 import participant_pb2 as pb

from participants.report import signed_report

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_report_carries_what_holds_now_and_is_signed_over_exactly_those_bytes() -> None:
    answer = pb.Answer(transaction_id="t", phase="card_charge", status=pb.STATUS_HELD)
    request = signed_report("card", b"k" * 32, answer, AT)
    assert request.participant == "card"
    assert request.signature == hmac.digest(b"k" * 32, request.notice, "sha256")
    notice = callbacks_pb2.Notice.FromString(request.notice)
    assert notice.answer == answer
    assert notice.sign_time.ToDatetime(tzinfo=UTC) == AT
