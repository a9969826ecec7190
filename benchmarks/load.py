"""Callers in a process of their own: so many at once, or so many a second.

    python -m benchmarks.load '{"addresses": ["127.0.0.1:7000"], "in_flight": 64, ...}'

Takes the fields of Load as JSON, and prints one line of JSON: how many were answered how, for how
long it went on, latencies in milliseconds of those that ended as they should, its own CPU seconds.
An open loop counts a latency from the moment at which the request was due: a caller that comes
late because the load generator is busy is not let off.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar, cast

import grpc
import msgspec
import uvloop
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from adapters.system import SystemClock
from benchmarks.scenario import Job

NOBODYS = "00000000-0000-4000-8000-000000000000"
"""The ID of no payment."""
DECLINED_SHARE = 0.3
REPEATED_EVERY = 10
DECLINED_CARD = "declined"
"""Participants in process refuse this card."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. `in_flight` callers, or `rate` requests a second, for `seconds`."""

    addresses: list[str]
    key: str
    seconds: float
    job: Job = Job.PAY
    in_flight: int = 0
    rate: float = 0.0
    timeout_s: float = 30.0


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Latencies are sorted, in ms."""

    answers: dict[str, int]
    good: int
    seconds: float
    latencies_ms: list[float]
    cpu_s: float


Stub: TypeAlias = payments_pb2_grpc.PaymentServiceStub
Answer = TypeVar("Answer")


class Callers:
    """All of them, and what they were answered."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._metadata = (("authorization", f"Bearer {load.key}"),)
        self._began = time.time_ns()
        self._number = 0
        self._good = _GOOD | ({"FAILED"} if load.job is Job.DECLINES else set())
        self.answers: Counter[str] = Counter()
        self.good = 0
        self.latencies: list[float] = []
        self._does: dict[Job, Callable[[Stub, int], Awaitable[list[str]]]] = {
            Job.PAY: self._pay,
            Job.POINTS: self._pay_points,
            Job.DECLINES: self._pay_or_not,
            Job.REFUNDS: self._pay_and_refund,
            Job.REPEATS: self._pay_maybe_twice,
        }

    async def once(self, stub: Stub, due: float) -> None:
        """One turn of the job, which was due at `due`."""
        self._number += 1
        try:
            states = await self._does[self._load.job](stub, self._number)
        except grpc.aio.AioRpcError as error:
            self.answers[_why(error)] += 1
            return
        self.answers.update(states)
        good = sum(state in self._good for state in states)
        self.good += good
        if good:
            self.latencies.append((time.perf_counter() - due) * 1000)

    async def _pay(self, stub: Stub, number: int) -> list[str]:
        return [await self._created(stub, self._request(number))]

    async def _pay_points(self, stub: Stub, number: int) -> list[str]:
        request = self._request(number)
        request.flow = "points_only"
        del request.tenders[1:]
        request.tenders[0].amount.minor_units = request.amount.minor_units
        return [await self._created(stub, request)]

    async def _pay_or_not(self, stub: Stub, number: int) -> list[str]:
        request = self._request(number)
        if number % 10 < DECLINED_SHARE * 10:
            request.tenders[1].source = DECLINED_CARD
        return [await self._created(stub, request)]

    async def _pay_maybe_twice(self, stub: Stub, number: int) -> list[str]:
        request = self._request(number)
        if number % REPEATED_EVERY:
            return [await self._created(stub, request)]
        both = await asyncio.gather(self._created(stub, request), self._created(stub, request))
        return [both[0], f"{both[1]} again"]

    async def _pay_and_refund(self, stub: Stub, number: int) -> list[str]:
        request = self._request(number)
        paid = await self._ask(stub.CreatePayment, request)
        refund = pb.CreateRefundRequest(
            payment_id=paid.payment.payment_id, idempotency_key=f"{request.idempotency_key}-back"
        )
        given = await self._ask(stub.CreateRefund, refund)
        return [_state(paid.payment), pb.RefundState.Name(given.refund.state)[13:]]

    async def _created(self, stub: Stub, request: pb.CreatePaymentRequest) -> str:
        return _state((await self._ask(stub.CreatePayment, request)).payment)

    async def _ask(self, method: Callable[..., Awaitable[Answer]], request: object) -> Answer:
        return await method(request, timeout=self._load.timeout_s, metadata=self._metadata)

    def _request(self, number: int) -> pb.CreatePaymentRequest:
        """600 points and 400 yen to a merchant."""

        def yen(units: int) -> pb.Money:
            return pb.Money(currency_code="JPY", minor_units=units)

        return pb.CreatePaymentRequest(
            idempotency_key=f"bench-{self._began}-{number}",
            flow="points_and_card",
            amount=yen(1000),
            tenders=[
                pb.Tender(method="points_reserve", source="alice", amount=yen(600)),
                pb.Tender(method="card_charge", source="tok_ok", amount=yen(400)),
            ],
            merchant_id="shop-1",
            order_id=f"order-{self._began}-{number}",
        )

    async def warm_up(self, stub: Stub) -> None:
        """One call before the burst.

        The server sizes a call's memory by what earlier calls of the connection took; the first
        ones of a new connection are made of dozens of pieces. Callers keep their connections.
        """
        with contextlib.suppress(grpc.aio.AioRpcError):  # there is no such payment
            await self._ask(stub.GetPayment, pb.GetPaymentRequest(payment_id=NOBODYS))


_GOOD = frozenset({"PAID", "SUCCEEDED"})


def _state(payment: pb.Payment) -> str:
    return pb.PaymentState.Name(payment.state)[14:]


def _why(error: grpc.aio.AioRpcError) -> str:
    """The code, and the reason where the service gave one."""
    code = str(error.code().name)
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(cast("grpc.Call", error))  # it has all that is asked for
    for detail in status.details if status is not None else ():
        if detail.Unpack(info):
            return f"{code} {info.reason}"
    return code


async def closed(callers: Callers, stubs: Sequence[Stub], load: Load) -> None:
    """So many callers, each of which goes on when it was answered."""
    end = time.perf_counter() + load.seconds

    async def caller(number: int) -> None:
        while (now := time.perf_counter()) < end:
            await callers.once(stubs[number % len(stubs)], now)

    await asyncio.gather(*(caller(number) for number in range(load.in_flight)))


async def opened(callers: Callers, stubs: Sequence[Stub], load: Load) -> None:
    """A new caller each time one is due, however many wait already."""
    clock = SystemClock()
    began = time.perf_counter()
    waiting: set[asyncio.Task[None]] = set()
    for number in range(int(load.rate * load.seconds)):
        due = began + number / load.rate
        early_s = due - time.perf_counter()
        if early_s > 0:
            await clock.sleep(early_s)
        task = asyncio.create_task(callers.once(stubs[number % len(stubs)], due))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)


async def run(load: Load) -> Answered:
    """Everything."""
    callers = Callers(load)
    async with contextlib.AsyncExitStack() as stack:
        stubs = []
        for address in load.addresses:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            stubs.append(payments_pb2_grpc.PaymentServiceStub(channel))
            await callers.warm_up(stubs[-1])
        used, began = time.process_time(), time.perf_counter()
        await (closed if load.in_flight else opened)(callers, stubs, load)
        seconds = time.perf_counter() - began
    return Answered(
        answers=callers.answers,
        good=callers.good,
        seconds=seconds,
        latencies_ms=sorted(callers.latencies),
        cpu_s=time.process_time() - used,
    )


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.argv[1], type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(asked))) + b"\n")
