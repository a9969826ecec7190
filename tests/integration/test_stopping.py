"""Signals to a `kessai serve` that has something under way: real processes, a real PostgreSQL."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from tests.support.service import KEYS, PARTICIPANTS, create_request
from tests.support.serving import Serve, Serving, environment, servings, until


@pytest.fixture
def serve(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Serve]:
    """Starts `kessai serve`; its participants take calls and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        settings = environment(
            new_database(),
            participants=dict.fromkeys(PARTICIPANTS, address),
            patience_s=3600.0,  # so that it goes on driving, however long the waits
        )
        with servings(tmp_path, settings) as start:
            yield start


def pay(address: str) -> pb.Payment:
    """A payment that is not settled when it is answered."""
    with grpc.insecure_channel(address) as channel:
        answer: pb.CreatePaymentResponse = payments_pb2_grpc.PaymentServiceStub(
            channel
        ).CreatePayment(
            create_request(), timeout=1, metadata=(("authorization", f"Bearer {KEYS['shop']}"),)
        )
    return answer.payment


def drains(address: str) -> bool:
    """What its health service says."""
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=10
        )
    return bool(answer.status == health_pb2.HealthCheckResponse.NOT_SERVING)


def given_back(serving: Serving) -> object:
    """How many transactions it said it gave back."""
    lines = [json.loads(line) for line in serving.log.read_text().splitlines()]
    [told] = [line for line in lines if line["event"] == "stopped"]
    return told["given_back"]


@pytest.mark.parametrize("signals", [1, 2])
def test_one_signal_or_two_together_drain(serve: Serve, signals: int) -> None:
    serving = serve("--drain-s", "1")
    assert pay(serving.address()).state == pb.PAYMENT_STATE_CREATED
    for _ in range(signals):
        serving.process.send_signal(signal.SIGTERM)
    assert serving.end() == 0, serving.log.read_text()
    assert given_back(serving) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(serve: Serve, number: signal.Signals) -> None:
    serving = serve("--drain-s", "3600")
    address = serving.address()
    pay(address)
    serving.process.send_signal(number)
    until(lambda: drains(address), "drains")
    time.sleep(0.5)  # when it is asked again, not a wait for something
    assert serving.process.poll() is None
    serving.process.send_signal(number)
    assert serving.end() == -number


def test_a_second_signal_to_the_parent_of_workers_ends_them_at_once(serve: Serve) -> None:
    serving = serve("--drain-s", "3600", "--workers", "2")
    address = serving.address()
    pay(address)
    serving.process.send_signal(signal.SIGTERM)
    until(lambda: len(serving.workers()) == 1, "the worker that has nothing to do has ended")
    serving.process.send_signal(signal.SIGTERM)
    assert serving.end() == 128 + signal.SIGTERM
