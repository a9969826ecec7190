"""A coordinator whose PostgreSQL is killed, or does not answer for a while, under payments."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import grpc
import psutil
import pytest
from kessai.payments.v1 import payments_pb2 as pb

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.system import SystemClock
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Outcome
from coordinator.domain.phase import Operation
from tests.support.service import (
    PARTICIPANTS,
    Models,
    Problem,
    Service,
    SharedParticipant,
    create_request,
    problem_of,
    running,
)
from tests.support.serving import until

LONG_S = 120.0
PAYMENTS = 5
SILENT_S = 20.0
"""Longer than a statement may take and its connection may be silent, in seconds."""


class Gated(SharedParticipant):
    """Answers a Confirm once its gate is open."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.gate = threading.Event()
        self.waiting = 0
        self.answered = 0

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        if call.operation is not Operation.CONFIRM:
            return await super().perform(transaction_id, call, hold_until)
        self.waiting += 1
        while not self.gate.is_set():
            await self.clock.sleep(0.01)
        self.answered += 1
        return await super().perform(transaction_id, call, hold_until)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that nobody else uses."""
    with (
        tempfile.TemporaryDirectory(prefix="kessai-outage-", dir="/tmp") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        yield server


@pytest.fixture
def card() -> Gated:
    return Gated()


@pytest.fixture
def service(
    own_postgres: EmbeddedPostgres, card: Gated, request: pytest.FixtureRequest
) -> Iterator[Service]:
    models: Models = {name: SharedParticipant(SystemClock()) for name in PARTICIPANTS}
    url = own_postgres.ensure_database(f"db_{abs(hash(request.node.name))}")
    with running(url, models=models | {"card": card}, lease_s=5.0, recover_interval_s=0.2) as made:
        yield made


@pytest.fixture
def under_way(service: Service, card: Gated) -> Iterator[list[Future[pb.Payment]]]:
    """Payments whose card has been asked to capture, and has not answered."""
    with ThreadPoolExecutor(PAYMENTS) as pool:
        calls = [pool.submit(pay, service, f"key-{number}", LONG_S) for number in range(PAYMENTS)]
        until(lambda: card.waiting == PAYMENTS, "all payments are under way")
        yield calls
        card.gate.set()


def pay(service: Service, key: str, timeout: float) -> pb.Payment:
    answer: pb.CreatePaymentResponse = service.stub().CreatePayment(
        create_request(key), timeout=timeout
    )
    return answer.payment


def refusal(service: Service, timeout: float) -> Problem:
    """What a new payment is told."""
    with pytest.raises(grpc.RpcError) as caught:
        pay(service, "key-during", timeout)
    return problem_of(caught.value)


def check_the_end(service: Service, card: Gated, calls: list[Future[pb.Payment]]) -> None:
    """Every payment is paid, and what the card answered meanwhile was not asked for again."""
    ended = [call.result(LONG_S) for call in calls]
    assert {payment.state for payment in ended} == {pb.PAYMENT_STATE_PAID}
    confirms = [each for each in card.calls if each[2] is Operation.CONFIRM]
    assert len(confirms) == len(set(confirms)) == PAYMENTS
    again = pay(service, "key-after", LONG_S)
    assert again.state == pb.PAYMENT_STATE_PAID


def test_killed_and_started_again(
    own_postgres: EmbeddedPostgres,
    service: Service,
    card: Gated,
    under_way: list[Future[pb.Payment]],
) -> None:
    own_postgres.crash()
    told = refusal(service, timeout=30)
    assert (told.status, told.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert told.retry
    card.gate.set()
    until(lambda: card.answered == PAYMENTS, "the card has answered all of them")
    own_postgres.restart()
    check_the_end(service, card, under_way)


def test_silent_for_longer_than_anything_waits(
    own_postgres: EmbeddedPostgres,
    service: Service,
    card: Gated,
    under_way: list[Future[pb.Payment]],
) -> None:
    postmaster = psutil.Process(own_postgres.pid)
    silent = [process.pid for process in (postmaster, *postmaster.children(recursive=True))]
    for pid in silent:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.perf_counter()
        told = refusal(service, timeout=2)
        assert (told.status, told.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert told.retry
        card.gate.set()
        until(lambda: card.answered == PAYMENTS, "the card has answered all of them")
        time.sleep(max(0.0, SILENT_S - (time.perf_counter() - began)))  # as long as it is silent
    finally:
        for pid in silent:
            os.kill(pid, signal.SIGCONT)
    check_the_end(service, card, under_way)
