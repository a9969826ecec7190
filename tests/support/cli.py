"""The command line against a fake PaymentService in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from kessai.payments.v1 import payments_pb2_grpc
from typer.testing import CliRunner, Result

from coordinator.cli.main import app

KEY = "kessai_test"
Kessai: TypeAlias = Callable[..., Result]


class Fake(payments_pb2_grpc.PaymentServiceServicer):
    """Answers what a test put in; remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.metadata: dict[str, Any] = {}
        self.remaining_s = 0.0
        self.address = ""
        self.answer: Any = None
        self.error: tuple[grpc.StatusCode, str, list[Message]] | None = None

    def _answer(self, request: Any, context: Any) -> Any:
        copy = type(request)()
        copy.CopyFrom(request)
        self.asked.append(copy)
        self.metadata = dict(context.invocation_metadata())
        self.remaining_s = context.time_remaining()
        if self.error is None:
            return self.answer(request) if callable(self.answer) else self.answer
        code, message, details = self.error
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
        for detail in details:
            status.details.append(AnyMessage())
            status.details[-1].Pack(detail)
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("abort raises")

    CreatePayment = GetPayment = ListPayments = CancelPayment = ListJournal = _answer
    CapturePayment = CreateRefund = GetRefund = ListRefunds = _answer

    def _stream(self, request: Any, context: Any) -> Iterator[Any]:
        yield from self._answer(request, context)

    WatchPayment = WatchRefund = _stream


@contextmanager
def served(fake: Fake) -> Iterator[Kessai]:
    """Runs the command line against the fake."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        payments_pb2_grpc.add_PaymentServiceServicer_to_server(fake, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        fake.address = f"127.0.0.1:{port}"
        env = {"KESSAI_ADDRESS": fake.address, "KESSAI_API_KEY": KEY}
        yield lambda *arguments: CliRunner().invoke(app, list(arguments), env=env)
        server.stop(None).wait()


def refuse(fake: Fake, code: grpc.StatusCode, reason: str, *details: Message) -> None:
    """Has the fake refuse every call with this reason."""
    info = ErrorInfo(domain="kessai", reason=reason)
    fake.error = (code, f"why {reason} happened", [info, *details])
