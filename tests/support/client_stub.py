"""A PaymentService on a real socket that says what a test put in, and remembers what it was asked.

For the tests of the client: each answer of a method's script is a message, a `Refusal`, or, for a
watch, a list of both, which is one stream.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status
from kessai.payments.v1 import payments_pb2_grpc


@dataclass(frozen=True)
class Refusal:
    """A gRPC error; with a reason it carries ErrorInfo of Kessai's."""

    status: grpc.StatusCode
    reason: str = ""
    message: str = "why"
    facts: tuple[tuple[str, str], ...] = ()
    violations: tuple[tuple[str, str, str], ...] = ()
    retry_after_s: float | None = None
    domain: str = "kessai"

    def details(self) -> list[Message]:
        """Its details, as our server would write them."""
        found: list[Message] = []
        if self.reason:
            found.append(
                ErrorInfo(domain=self.domain, reason=self.reason, metadata=dict(self.facts))
            )
        if self.violations:
            found.append(
                BadRequest(
                    field_violations=[
                        BadRequest.FieldViolation(field=field, reason=code, description=text)
                        for field, code, text in self.violations
                    ]
                )
            )
        if self.retry_after_s is not None:
            delay = Duration()
            delay.FromTimedelta(timedelta(seconds=self.retry_after_s))
            found.append(RetryInfo(retry_delay=delay))
        return found


class Silence:
    """No answer until the caller has given up."""


@dataclass(frozen=True)
class Asked:
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, Any]
    remaining_s: float


class Stub(payments_pb2_grpc.PaymentServiceServicer):
    """The servicer. `script[method]` is used up from the left; its last answer stays."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.script: defaultdict[str, deque[Any]] = defaultdict(deque)
        self.address = ""
        self.stream_ended = threading.Event()

    def says(self, method: str, *answers: Any) -> None:
        """What the method answers, one after the other."""
        self.script[method].extend(answers)

    def requests(self, method: str) -> list[Any]:
        """What the method was asked."""
        return [asked.request for asked in self.asked if asked.method == method]

    def _next(self, method: str, request: Any, context: Any) -> Any:
        copy = type(request)()
        copy.CopyFrom(request)
        metadata = dict(context.invocation_metadata())
        self.asked.append(Asked(method, copy, metadata, context.time_remaining()))
        answers = self.script[method]
        return answers.popleft() if len(answers) > 1 else answers[0]

    def _tell(self, answer: Any, context: Any) -> Any:
        if isinstance(answer, Refusal):
            status = status_pb2.Status(
                code=code_pb2.Code.Value(answer.status.name), message=answer.message
            )
            for detail in answer.details():
                status.details.append(AnyMessage())
                status.details[-1].Pack(detail)
            if not answer.details():
                context.abort(answer.status, answer.message)
            context.abort_with_status(rpc_status.to_status(status))
        if isinstance(answer, Silence):
            ended = threading.Event()
            if context.add_callback(ended.set):
                ended.wait(30)
            context.abort(grpc.StatusCode.CANCELLED, "the caller gave up")
        return answer

    def unary(self, method: str, request: Any, context: Any) -> Any:
        """One answer."""
        return self._tell(self._next(method, request, context), context)

    def stream(self, method: str, request: Any, context: Any) -> Iterator[Any]:
        """One stream."""
        context.add_callback(self.stream_ended.set)
        for answer in self._next(method, request, context):
            yield self._tell(answer, context)


def _method(name: str) -> Any:
    how = Stub.stream if name.startswith("Watch") else Stub.unary
    return lambda self, request, context: how(self, name, request, context)


METHODS = tuple(
    name for name in vars(payments_pb2_grpc.PaymentServiceServicer) if name[0].isupper()
)
for _name in METHODS:
    setattr(Stub, _name, _method(_name))


@contextmanager
def stub_server() -> Iterator[Stub]:
    """The stub, served until the block ends."""
    stub = Stub()
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        payments_pb2_grpc.add_PaymentServiceServicer_to_server(stub, server)
        stub.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield stub
        finally:
            server.stop(None).wait()
