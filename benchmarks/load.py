"""A closed-loop gRPC client in a process of its own: so many payments in flight, for so long.

    python -m benchmarks.load ADDRESS API_KEY IN_FLIGHT SECONDS [TIMEOUT]

Prints one line of JSON: payments by state, seconds, latencies in milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter

import grpc
import uvloop
from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

NOBODYS = "00000000-0000-4000-8000-000000000000"
"""The ID of no payment."""


def request(worker: int, number: int) -> pb.CreatePaymentRequest:
    """600 points and 400 yen to a merchant."""

    def yen(units: int) -> pb.Money:
        return pb.Money(currency_code="JPY", minor_units=units)

    return pb.CreatePaymentRequest(
        idempotency_key=f"bench-{time.time_ns()}-{worker}-{number}",
        flow="points_and_card",
        amount=yen(1000),
        tenders=[
            pb.Tender(method="points_reserve", source="alice", amount=yen(600)),
            pb.Tender(method="card_charge", source="tok_ok", amount=yen(400)),
        ],
        merchant_id="shop-1",
        order_id=f"order-{time.time_ns()}-{worker}-{number}",
    )


async def _warm_up(channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
    """One call before the burst.

    The server sizes a call's memory by what earlier calls of the connection took; the first ones of
    a new connection are made of dozens of pieces. Callers keep their connections.
    """
    get = payments_pb2_grpc.PaymentServiceStub(channel).GetPayment
    with contextlib.suppress(grpc.aio.AioRpcError):  # there is no such payment
        await get(pb.GetPaymentRequest(payment_id=NOBODYS), timeout=10, metadata=metadata)


async def main(address: str, key: str, in_flight: int, seconds: float, timeout_s: float) -> None:
    """Runs the load and prints the result."""
    states: Counter[str] = Counter()
    latencies: list[float] = []
    metadata = (("authorization", f"Bearer {key}"),)
    async with grpc.aio.insecure_channel(address) as channel:
        create = payments_pb2_grpc.PaymentServiceStub(channel).CreatePayment
        await _warm_up(channel, metadata)
        end = time.perf_counter() + seconds

        async def worker(number: int) -> None:
            count = 0
            while (began := time.perf_counter()) < end:
                count += 1
                try:
                    answer = await create(
                        request(number, count), timeout=timeout_s, metadata=metadata
                    )
                    states[pb.PaymentState.Name(answer.payment.state)[14:]] += 1
                except grpc.aio.AioRpcError as error:
                    states[error.code().name] += 1
                latencies.append((time.perf_counter() - began) * 1000)

        began = time.perf_counter()
        await asyncio.gather(*(worker(number) for number in range(in_flight)))
        elapsed = time.perf_counter() - began
    latencies.sort()
    print(
        json.dumps(
            {
                "states": states,
                "seconds": elapsed,
                "p50_ms": latencies[len(latencies) // 2],
                "p99_ms": latencies[len(latencies) * 99 // 100],
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    uvloop.run(
        main(
            arguments[0],
            arguments[1],
            int(arguments[2]),
            float(arguments[3]),
            float(arguments[4]) if len(arguments) > 4 else 30.0,  # noqa: PLR2004 - optional
        )
    )
