"""Reports: how a participant tells the coordinator that something it had left open is decided.

A report saves the coordinator the wait for its next Query; nothing is lost when it does not come.
Send it again until it is answered OK (see callbacks.proto and docs/operations/callbacks.md).
"""

from __future__ import annotations

import hmac
from datetime import datetime

from kessai.participant.v1 import callbacks_pb2
from kessai.participant.v1 import participant_pb2 as pb


def signed_report(
    participant: str, key: bytes, answer: pb.Answer, sign_time: datetime
) -> callbacks_pb2.ReportRequest:
    """What to send to CallbackService.Report.

    participant  this service's name in the coordinator's configuration
    key          the 32 bytes that both sides share
    answer       what holds now: for the reference library, `Fence.query(...).answer`
    sign_time    now, in UTC; a report is taken within five minutes of it
    """
    notice = callbacks_pb2.Notice(answer=answer, sign_time=sign_time).SerializeToString()
    return callbacks_pb2.ReportRequest(
        participant=participant, notice=notice, signature=hmac.digest(key, notice, "sha256")
    )
