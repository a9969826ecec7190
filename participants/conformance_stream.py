"""Rule 13 of participant.proto: Perform. And the probe that asks everything else over it, too."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import grpc
from google.protobuf.message import Message
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.conformance_probe import RESPONSES, SERVICE, CheckOptions, Probe
from participants.conformance_steps import Broken, NotApplicable, Rule, expect, rule

_FIELDS = {"Try": "try", "Confirm": "confirm", "Cancel": "cancel", "Query": "query"}
_STATUSES = {status.value[0]: status for status in grpc.StatusCode}


class _Failed(grpc.RpcError):
    """An error that came as a reply, or the stream's end."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """As a call's own."""
        return self._code

    def details(self) -> str:
        """As a call's own."""
        return self._details


class StreamProbe(Probe):
    """Asks over one stream. Listing has no place there and stays a call of its own."""

    def __init__(self, channel: grpc.Channel, options: CheckOptions) -> None:
        super().__init__(channel, options)
        self._numbers = itertools.count(1)
        self._messages: queue.SimpleQueue[pb.PerformRequest | None] = queue.SimpleQueue()
        self._futures: dict[int, Future[bytes]] = {}
        self._operations: dict[int, str] = {}
        self._ended: _Failed | None = None
        self.unasked = 0
        perform: Any = channel.stream_stream(
            f"/{SERVICE}/Perform",
            request_serializer=pb.PerformRequest.SerializeToString,
            response_deserializer=pb.PerformResponse.FromString,
        )
        self._call: Any = perform(iter(self._messages.get, None))
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def ask_in_one_message(self, *asked: tuple[str, Message]) -> list[Future[bytes]]:
        """Sends all of them in one message; each gives its response's bytes, or raises RpcError."""
        asks = [self._ask(operation, request) for operation, request in asked]
        self._messages.put(pb.PerformRequest(asks=asks))
        return [self._futures[ask.number] for ask in asks]

    def end(self) -> str:
        """Says that nothing more is asked. Returns how the stream did not end in time, or ""."""
        self._messages.put(None)
        self._hearing.join(self.options.timeout_s)
        if self._hearing.is_alive():
            self._call.cancel()
            return "the stream was still open"
        code = self._call.code()
        return "" if code is grpc.StatusCode.OK else f"the stream ended with {code.name}"

    def _send(self, operation: str, request: Message) -> Any:
        if operation not in _FIELDS:
            return super()._send(operation, request)
        [future] = self.ask_in_one_message((operation, request))
        return _Answered(future, self.options.timeout_s)

    def _ask(self, operation: str, request: Message) -> pb.Ask:
        number = next(self._numbers)
        self._futures[number] = Future()
        if self._ended is not None and not self._futures[number].done():
            self._futures[number].set_exception(self._ended)
        self._operations[number] = operation
        millis = int(self.options.timeout_s * 1000)
        fields: dict[str, Any] = {_FIELDS[operation]: request}
        return pb.Ask(number=number, timeout_millis=millis, **fields)

    def _hear(self) -> None:
        end = _Failed(grpc.StatusCode.UNAVAILABLE, "the participant ended its stream")
        try:
            for response in self._call:
                for reply in response.replies:
                    self._heard(reply)
        except grpc.RpcError as error:
            call: Any = error
            end = _Failed(call.code(), call.details() or "")
        self._ended = end
        for future in list(self._futures.values()):
            if not future.done():
                future.set_exception(end)

    def _heard(self, reply: pb.Reply) -> None:
        future = self._futures.get(reply.number)
        if future is None or future.done():
            self.unasked += 1
            return
        if reply.WhichOneof("result") == "error":
            status = _STATUSES.get(reply.error.code, grpc.StatusCode.UNKNOWN)
            future.set_exception(_Failed(status, reply.error.message))
            return
        # The bytes that a call of its own would have answered with, as far as they can be told.
        response: Any = RESPONSES[self._operations[reply.number]]
        answered = response(answer=reply.answer) if reply.HasField("answer") else response()
        future.set_result(answered.SerializeToString(deterministic=True))


class _Answered:
    """What `Probe` waits for."""

    def __init__(self, future: Future[bytes], timeout_s: float) -> None:
        self._future = future
        self._timeout_s = timeout_s

    def result(self) -> bytes:
        """The response's bytes. Raises RpcError."""
        try:
            return self._future.result(self._timeout_s)
        except TimeoutError:
            raise _Failed(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time") from None


def serves_streams(probe: Probe) -> bool:
    """Whether the participant serves Perform."""
    asking = StreamProbe(probe.channel, probe.options)
    served = asking.query(world.new_transaction_id()).code is not grpc.StatusCode.UNIMPLEMENTED
    asking.end()
    return served


def _stream(probe: Probe) -> StreamProbe:
    if not serves_streams(probe):
        raise NotApplicable("it does not serve Perform")
    return StreamProbe(probe.channel, probe.options)


def _results(asking: StreamProbe, futures: list[Future[bytes]]) -> Iterator[str]:
    """How each question was answered: its status' name, or the error's."""
    for future in futures:
        try:
            raw = future.result(asking.options.timeout_s)
        except TimeoutError:
            yield "nothing"
        except grpc.RpcError as error:
            call: Any = error
            yield call.code().name
        else:
            answer = pb.QueryResponse.FromString(raw).answer  # all four are alike
            yield pb.Status.Name(answer.status).removeprefix("STATUS_")


def _usual(probe: Probe) -> str:
    """How a Try of the account is answered by a call of its own, as `_results` says it."""
    reply = probe.try_(world.new_transaction_id())
    if reply.code is not grpc.StatusCode.OK:
        return reply.code.name
    return pb.Status.Name(reply.answer.status).removeprefix("STATUS_")


@rule("13a", "One message asks many things; each is answered by its number, once.")
def _by_number(probe: Probe) -> str:
    asking, usual = _stream(probe), _usual(probe)
    ids = [world.new_transaction_id() for _ in range(8)]
    tries = [("Try", asking.try_request(each)) for each in ids]
    answers = set(_results(asking, asking.ask_in_one_message(*tries)))
    queries = [("Query", asking.query_request(each)) for each in reversed(ids)]
    futures = asking.ask_in_one_message(*queries)
    told = [future.result(asking.options.timeout_s) for future in futures]
    echoed = [pb.QueryResponse.FromString(raw).answer.transaction_id for raw in told]
    for each in ids:
        expect(asking.cancel(each), pb.STATUS_CANCELLED, "a Cancel over the stream")
    ended = asking.end()
    if answers != {usual}:
        raise Broken(f"Trys that are {usual} by a call of their own were {', '.join(answers)}")
    if echoed != list(reversed(ids)):
        raise Broken("a Query's number came with the answer about another transaction")
    if asking.unasked:
        raise Broken(f"{asking.unasked} replies had a number that waits for none")
    if ended:
        raise Broken(f"when everything was asked and answered, {ended}")
    return "8 Trys, 8 Queries, 8 Cancels"


@rule("13b", "What is wrong with one question is said to that one; those beside it are answered.")
def _by_itself(probe: Probe) -> str:
    asking, usual = _stream(probe), _usual(probe)
    first, second, other = (world.new_transaction_id() for _ in range(3))
    malformed = asking.try_request(other)
    malformed.amount.minor_units = -1
    futures = asking.ask_in_one_message(
        ("Try", asking.try_request(first)),
        ("Try", malformed),
        ("Confirm", asking.confirm_request(other)),
        ("Try", asking.try_request(second)),
    )
    answers = list(_results(asking, futures))
    for each in (first, second, other):
        asking.cancel(each)
    asking.end()
    wanted = [usual, "INVALID_ARGUMENT", "FAILED_PRECONDITION", usual]
    if answers != wanted:
        raise Broken(f"they were answered {', '.join(answers)}, not {', '.join(wanted)}")
    return ", ".join(answers)


STREAM_RULES: tuple[Rule, ...] = (_by_number, _by_itself)
