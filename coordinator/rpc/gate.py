"""What every call passes around its use case: admission, credentials, validation, errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Generic, NoReturn, TypeVar

import grpc
import protovalidate
from google.protobuf.message import DecodeError, Message

from coordinator.domain.errors import (
    DeadlineRequired,
    DeadlineTooShort,
    InvalidRequest,
    KessaiError,
    Overloaded,
    ShuttingDown,
    StoreUnavailable,
    Violation,
)
from coordinator.ports import Observer
from coordinator.rpc.credentials import Credentials
from coordinator.rpc.errors import abort, code_of

MAX_REQUEST_BYTES = 64 * 1024
"""Larger requests are refused with REQUEST_TOO_LARGE."""

MOST_ITEMS = 16
"""A list with more is refused as such, and its items are not looked at: each could be wrong in
several ways. No rule of our .proto files allows as many."""

OK = grpc.StatusCode.OK.name
LEFT = grpc.StatusCode.CANCELLED.name
"""The code of a call whose caller did not wait for the answer."""

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]

CODES = {
    "required": "FIELD_REQUIRED",
    "string.min_len": "FIELD_REQUIRED",
    "string.uuid_empty": "FIELD_REQUIRED",
    "string.max_len": "TOO_LONG",
    "string.pattern": "BAD_FORMAT",
    "string.uuid": "BAD_FORMAT",
    "int64.gt_lte": "OUT_OF_RANGE",
    "int64.gte": "OUT_OF_RANGE",
    "int32.gte_lte": "OUT_OF_RANGE",
    "bytes.len": "BAD_FORMAT",
    "bytes.min_len": "FIELD_REQUIRED",
    "bytes.max_len": "TOO_LONG",
    "duration.gte": "OUT_OF_RANGE",
    "repeated.min_items": "TOO_FEW",
    "repeated.max_items": "TOO_MANY",
    "enum.defined_only": "UNKNOWN_VALUE",
    "enum.not_in": "UNKNOWN_VALUE",
}
"""Stable codes for protovalidate's rules; the tests keep every rule of our .proto files in here."""


_ONE_LINE = "must be one line without control characters"
PATTERNS = {
    r"^([A-Z]{3})?$": "must be three capital letters, such as JPY",
    r"^[A-Z]{3}$": "must be three capital letters, such as JPY",
    r"^[A-Z0-9_]*$": "must be capital letters, digits and underscores",
    r"^[a-z0-9_]*$": "must be small letters, digits and underscores",
    r"^[A-Za-z0-9._-]*$": "must be letters, digits, dots, dashes and underscores",
    r"^[A-Za-z0-9._:@/-]*$": "must be letters, digits and . _ - : @ /",
    r"^[!-~]*$": "must be printable ASCII without blanks",
    r"^[^\p{C}\p{Zl}\p{Zp}]*$": _ONE_LINE,
    r"^([^\p{C}\p{Z}][^\p{C}\p{Zl}\p{Zp}]*)?$": f"{_ONE_LINE} that does not begin with a blank",
}
"""What the patterns of our .proto files ask for, in words; the tests keep all of them in here."""


class Unread(Generic[Request]):
    """The bytes of a request to `method`, to be parsed once its caller is known.

    gRPC's own parsing would end a malformed call with UNKNOWN, and would keep the message for as
    long as the call waits.
    """

    __slots__ = ("_data", "_parse", "method")

    def __init__(self, method: str, parse: Callable[[bytes], Request], data: bytes) -> None:
        self.method = method
        self._parse = parse
        self._data = data

    def read(self) -> Request:
        """The message, once. Raises InvalidRequest when the bytes are not one."""
        data, self._data = self._data, b""
        try:
            return self._parse(data)
        except DecodeError:
            text = "the request's bytes are not the message that this method takes"
            raise InvalidRequest([Violation("request", "MALFORMED", text)]) from None


class InTime:
    """An asynchronous context that lasts at most so many seconds; then it is StoreUnavailable."""

    __slots__ = ("_timeout",)

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise StoreUnavailable("no answer before the caller's deadline") from None


class Gate:
    """Guards the servicers.

    credentials        the keys of those who may call
    max_in_flight      calls served at once, and as many streams
    deadline_margin_s  how long before the deadline a waiting call answers
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        max_in_flight: int,
        deadline_margin_s: float,
        observer: Observer,
    ) -> None:
        self._credentials = credentials
        self._max_in_flight = max_in_flight
        self.margin_s = deadline_margin_s
        self._observer = observer
        self._calls = 0
        self._streams = 0
        self._closed = False

    @property
    def calls(self) -> int:
        """How many calls are being served now."""
        return self._calls

    @property
    def streams(self) -> int:
        """How many streams are being served now."""
        return self._streams

    def close(self) -> None:
        """From now on every call and stream is refused with SHUTTING_DOWN."""
        self._closed = True

    def unary(
        self,
        request: Unread[Request],
        context: Context,
        handle: Callable[[str, Request, Context], Awaitable[Response]],
    ) -> Awaitable[Response]:
        """Serves one call of a caller by `handle`, or ends it with the error's status."""
        return self._serve(
            request.method, context, lambda: handle(*self._admit(request, context), context)
        )

    def signed(
        self,
        request: Unread[Request],
        context: Context,
        handle: Callable[[Request, Context], Awaitable[Response]],
    ) -> Awaitable[Response]:
        """Serves one call that proves by itself who calls; `handle` checks that."""

        def admit() -> Awaitable[Response]:
            message = request.read()
            validate(message)
            return handle(message, context)

        return self._serve(request.method, context, admit)

    async def _serve(
        self, method: str, context: Context, serve: Callable[[], Awaitable[Response]]
    ) -> Response:
        if self._closed or self._calls >= self._max_in_flight:
            await self._refuse(method, context, self._no_entry())
        self._calls += 1
        problem: Exception
        try:
            handling = serve()
            del serve  # it holds the request
            response = await handling
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
            problem = error
        except asyncio.CancelledError:
            self._observer.served(method, LEFT)
            raise
        else:
            self._observer.served(method, OK)
            return response
        finally:
            self._calls -= 1
        return await self._refuse(method, context, problem)

    async def stream(
        self,
        request: Unread[Request],
        context: Context,
        handle: Callable[[str, Request, Context], AsyncGenerator[Response]],
    ) -> AsyncGenerator[Response]:
        """Serves one stream by `handle`, or ends it with the error's status."""
        method = request.method
        if self._closed or self._streams >= self._max_in_flight:
            await self._refuse(method, context, self._no_entry())
        self._streams += 1
        problem: Exception
        try:
            async with aclosing(handle(*self._admit(request, context), context)) as responses:
                async for response in responses:
                    yield response
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
            problem = error
        except (asyncio.CancelledError, GeneratorExit):
            self._observer.served(method, LEFT)
            raise
        else:
            self._observer.served(method, OK)
            return
        finally:
            self._streams -= 1
        await self._refuse(method, context, problem)

    def _no_entry(self) -> KessaiError:
        return ShuttingDown() if self._closed else Overloaded(self._max_in_flight)

    def wait_s(self, context: Context) -> float:
        """How long this call may wait for its payment, in seconds.

        Raises DeadlineRequired when the call has no deadline, DeadlineTooShort when it is too near.
        """
        remaining = context.time_remaining()
        if remaining is None:
            raise DeadlineRequired
        if remaining <= self.margin_s:
            raise DeadlineTooShort(self.margin_s)
        return self.left_s(context)

    def left_s(self, context: Context) -> float:
        """How long it may still wait, in seconds; 0 or less when it has to answer now.

        On the wire gRPC rounds a deadline up, by at most a hundredth of it.
        """
        remaining = context.time_remaining() or 0.0
        return remaining * 0.99 - self.margin_s

    def in_time(self, context: Context) -> InTime:
        """Around what a call waits for before its payment is durable.

        Ends it with StoreUnavailable while the caller still listens: in half the margin. Whether
        anything was written is unknown then, as it is when the database says nothing itself.
        """
        remaining = context.time_remaining() or 0.0
        return InTime(remaining * 0.99 - self.margin_s / 2)

    async def _refuse(self, method: str, context: Context, error: Exception) -> NoReturn:
        if not isinstance(error, KessaiError):
            self._observer.troubled("call", error)
        self._observer.served(method, code_of(error).name)
        await abort(context, error)

    def _admit(self, unread: Unread[Request], context: Context) -> tuple[str, Request]:
        """Who calls, and what for."""
        caller = self._credentials.name_of(context.invocation_metadata() or ())
        request = unread.read()
        validate(request)
        return caller, request


def validate(request: Message) -> None:
    """Raises InvalidRequest with every field at fault. Values are never repeated in the message."""
    if request.ByteSize() > MAX_REQUEST_BYTES:
        text = f"the request is larger than {MAX_REQUEST_BYTES} bytes"
        raise InvalidRequest([Violation("request", "REQUEST_TOO_LARGE", text)])
    if crowded := list(_crowded(request, "")):
        raise InvalidRequest(crowded)
    found = protovalidate.collect_violations(request)
    if found:
        violations = [_violation(item.proto) for item in found]
        # A field that breaks several rules is named once, by the first: missing, then too long …
        first = {violation.field: violation for violation in reversed(violations)}
        raise InvalidRequest([first[field] for field in reversed(first)])


def _crowded(message: Message, path: str) -> Iterator[Violation]:
    """Every list with more than MOST_ITEMS."""
    for field, value in message.ListFields():
        where = f"{path}{field.name}"
        if field.is_repeated and len(value) > MOST_ITEMS:
            yield Violation(where, "TOO_MANY", f"must have at most {MOST_ITEMS} items")
        elif field.message_type is not None and not field.is_repeated:
            yield from _crowded(value, f"{where}.")


def _violation(item: Any) -> Violation:
    return Violation(
        field=_path(item.field),
        code=CODES.get(item.rule_id, "INVALID_VALUE"),
        message=_words(item.message),
    )


def _words(message: str) -> str:
    """The sentence, unless it quotes a pattern: then what that asks for."""
    _, _, pattern = message.partition("regex pattern `")
    return PATTERNS.get(pattern.removesuffix("`"), message)


def _path(path: Any) -> str:
    """`tenders[0].amount.minor_units` for a protovalidate field path."""
    parts = []
    for element in path.elements if path else ():
        subscript = element.subscript
        index = "" if subscript is None else f"[{subscript.value}]"
        parts.append(f"{element.field_name}{index}")
    return ".".join(parts)
