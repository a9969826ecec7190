"""The command line against a fake PaymentService or AdminService in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from kessai.admin.v1 import admin_pb2_grpc
from kessai.payments.v1 import payments_pb2_grpc
from typer.testing import CliRunner, Result

from coordinator.cli.main import app

KEY = "kessai_test"
Kessai: TypeAlias = Callable[..., Result]


@dataclass(frozen=True)
class Refusal:
    """What a fake may answer instead of a message."""

    code: grpc.StatusCode
    reason: str
    message: str = ""


class _Answering:
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
        error = self.error
        if error is None:
            answer = self.answer(copy) if callable(self.answer) else self.answer
            if not isinstance(answer, Refusal):
                return answer
            info = ErrorInfo(domain="kessai", reason=answer.reason)
            error = answer.code, answer.message or f"why {answer.reason} happened", [info]
        code, message, details = error
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
        for detail in details:
            status.details.append(AnyMessage())
            status.details[-1].Pack(detail)
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("abort raises")


class Fake(_Answering, payments_pb2_grpc.PaymentServiceServicer):
    """A PaymentService."""

    _answer = _Answering._answer
    CreatePayment = GetPayment = ListPayments = CancelPayment = ListJournal = _answer
    CapturePayment = CreateRefund = GetRefund = ListRefunds = _answer

    def _stream(self, request: Any, context: Any) -> Iterator[Any]:
        yield from self._answer(request, context)

    WatchPayment = WatchRefund = _stream


class FakeAdmin(_Answering, admin_pb2_grpc.AdminServiceServicer):
    """An AdminService. `answer` may tell requests apart by their type."""

    _answer = _Answering._answer
    ListTransactions = CountTransactions = ExplainTransaction = ResumeTransaction = _answer
    HoldTransaction = UnholdTransaction = CancelTransaction = ResolveStep = _answer
    ListFlows = PauseFlow = ResumeFlow = ListParticipants = CheckHealth = _answer


@contextmanager
def served(fake: Fake | FakeAdmin) -> Iterator[Kessai]:
    """Runs the command line against the fake. `typed` is what stdin has."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        if isinstance(fake, FakeAdmin):
            admin_pb2_grpc.add_AdminServiceServicer_to_server(fake, server)
            names = ("KESSAI_ADMIN_ADDRESS", "KESSAI_OPERATOR_KEY")
        else:
            payments_pb2_grpc.add_PaymentServiceServicer_to_server(fake, server)
            names = ("KESSAI_ADDRESS", "KESSAI_API_KEY")
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        fake.address = f"127.0.0.1:{port}"
        env = dict(zip(names, (fake.address, KEY), strict=True))

        def run(*arguments: str, typed: str | None = None) -> Result:
            return CliRunner().invoke(app, list(arguments), env=env, input=typed)

        yield run
        server.stop(None).wait()


def refuse(fake: Fake | FakeAdmin, code: grpc.StatusCode, reason: str, *details: Message) -> None:
    """Has the fake refuse every call with this reason."""
    info = ErrorInfo(domain="kessai", reason=reason)
    fake.error = (code, f"why {reason} happened", [info, *details])
