"""Calls of one service over one synchronous channel, with a key and a deadline.

Everything the server or the network can answer comes out as a `Failure`: one place says which exit
code it is and what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from coordinator.cli.failures import ExitCode, Failure, FieldAtFault

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}")
_NOBODY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""What gRPC itself answers when nobody is there, or nobody in time."""


@dataclass(frozen=True, slots=True)
class Service:
    """How a service is spoken of in messages.

    away         what to do when it cannot be reached
    silent       what to do when it did not answer in time
    unknown_key  what to do when it does not know the key
    elsewhere    what to do when another service answers
    repeat       how a call is repeated safely
    """

    address_flag: str
    address_variable: str
    key_flag: str
    away: str
    silent: str
    unknown_key: str
    elsewhere: str
    repeat: str


class Calls:
    """One caller's view of a service. Use as a context manager.

    `timeout_s` bounds each call. Raises Failure for an address or a key that cannot be.
    """

    def __init__(self, address: str, key: str, timeout_s: float, service: Service) -> None:
        if not _ADDRESS.fullmatch(address):
            raise Failure(f"{service.address_flag} must be HOST:PORT", ExitCode.USAGE)
        if not key.isascii() or not key.isprintable():
            raise Failure(f"{service.key_flag} must be printable ASCII", ExitCode.USAGE)
        self._address = address
        self._service = service
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._timeout_s = timeout_s
        # With a connection of its own: a shared one may just be waiting after an earlier client's
        # failure, and would refuse at once although the server is back.
        own = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(address, options=own)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def _follow(self, method: Any, request: Any) -> Iterator[Any]:
        with self._translated():
            yield from method(request, timeout=self._timeout_s, metadata=self._metadata)

    def _call(self, method: Any, request: Any) -> Any:
        with self._translated():
            return method(request, timeout=self._timeout_s, metadata=self._metadata)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise failure_of(error, self._address, self._service) from None


def failure_of(error: grpc.RpcError, address: str, service: Service) -> Failure:
    """What a gRPC error means for the person at the terminal."""
    status = _status(error)
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details if status is not None else ():
        for kind in (info, request, retry):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    code = error.code()
    if not info.reason and code in _NOBODY:
        return _no_answer(code, error.details() or "", address, service)
    fields = [
        FieldAtFault(item.field, item.reason, item.description) for item in request.field_violations
    ]
    message = error.details() or code.name
    if fields:
        message = "the request cannot be used; nothing was changed"
    exit_code = ExitCode.USAGE if info.reason == "INVALID_REQUEST" else ExitCode.REFUSED
    hint = _hint(code, retry, service)
    return Failure(message, exit_code, info.reason or code.name, hint, fields)


def _status(error: Any) -> Any:
    try:
        return rpc_status.from_call(error)
    except ValueError:  # the details contradict the code: not one of our servers
        return None


def _no_answer(code: grpc.StatusCode, details: str, address: str, service: Service) -> Failure:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Failure(
            f"{address} did not answer in time; what became of the request is not known",
            ExitCode.UNREACHABLE,
            code.name,
            service.silent,
        )
    other = f"Another address: {service.address_flag} or {service.address_variable}"
    return Failure(
        f"cannot reach {address}: {details.rpartition(': ')[2]}",
        ExitCode.UNREACHABLE,
        code.name,
        f"{service.away} {other}",
    )


def _hint(code: grpc.StatusCode, retry: error_details_pb2.RetryInfo, service: Service) -> str:
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return service.unknown_key
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return service.elsewhere
    if retry.HasField("retry_delay"):
        delay_s = retry.retry_delay.ToTimedelta().total_seconds()
        return f"repeat it in {delay_s:g} s {service.repeat}".rstrip()
    return ""
