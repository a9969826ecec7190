"""A participant hangs under real payments: what does not need it goes on, what does ends after it.

Real processes: the participant is stopped where it stands (SIGSTOP), so that its connections stay
open and no call is ever answered. That is the worst that a participant can do.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kessai.payments.v1 import payments_pb2 as pb

from adapters.system import SystemClock
from coordinator.cli import telling
from coordinator.cli.client import Client
from coordinator.cli.ledgers import Ledgers, imbalances
from coordinator.cli.show import state_name
from coordinator.cli.stack import LEDGERS, Plan, Stack
from coordinator.cli.up import OPTIONS

STUCK = 30
"""Payments that wait for the participant; a bound of 8 calls at once is far below that."""
LIMITS = '{"points": {"max_in_flight": 8, "timeout_s": 1}}'


@pytest.fixture
def stack() -> Iterator[Stack]:
    options = {**OPTIONS, "points": ("--seed=alice=1000000",)}
    settings = {"KESSAI_PARTICIPANT_LIMITS": LIMITS}
    with (
        tempfile.TemporaryDirectory(prefix="kessai-down-", dir="/tmp") as folder,
        Stack(Plan(Path(folder) / "stack", options=options, settings=settings)) as running,
    ):
        yield running


def by_card_alone(client: Client, name: str, count: int) -> float:
    """Pays so often, one after the other; the median of the times, in seconds."""
    clock, took = SystemClock(), []
    for number in range(count):
        started = clock.monotonic()
        made = client.create(telling.request(f"{name}-{number}", card="tok_ok", points=0, yen=40))
        took.append(clock.monotonic() - started)
        assert state_name(made.payment) == "PAID"
    return statistics.median(took)


def reserved(client: Client, number: int) -> str:
    """A payment by points and card, held everywhere."""
    request = telling.request(f"held-{number}", points=60, card="tok_ok", yen=40)
    request.capture = pb.CAPTURE_MODE_MANUAL
    payment = client.create(request).payment
    assert state_name(payment) == "RESERVED"
    return payment.payment_id


def test_payments_without_it_go_on_and_the_others_end_once_it_is_back(stack: Stack) -> None:
    with Client(stack.address, stack.keys.api_key, 30.0) as client:
        held = [reserved(client, number) for number in range(STUCK)]
        before_s = by_card_alone(client, "before", 20)
        hanging = stack.children["points"].pid
        os.kill(hanging, signal.SIGSTOP)
        try:
            capturing = [captures(stack, payment_id) for payment_id in held]
            for thread in capturing:
                thread.join(30)
            assert {state_name(client.get(each)) for each in held} == {"SETTLING"}
            during_s = by_card_alone(client, "during", 40)
            # A call of it takes a second to fail: whoever waited for one would take so long.
            assert during_s < max(0.5, 3 * before_s)
            with Client(stack.address, stack.keys.api_key, 8.0) as hasty:
                failed = hasty.create(telling.request("new", points=60)).payment
            assert state_name(failed) in {"CANCELLING", "FAILED"}
            assert failed.failure.code == "TRY_DEADLINE_EXCEEDED"
        finally:
            os.kill(hanging, signal.SIGCONT)
        ends = {state_name(list(client.watch(each))[-1]) for each in held}
        assert ends == {"PAID"}
        assert state_name(list(client.watch(failed.payment_id))[-1]) == "FAILED"
    paid_minor = STUCK * 100 + 60 * 40
    with Ledgers({name: stack.database_urls[name] for name in LEDGERS}) as books:
        assert imbalances(books.books(), paid_minor, refunded_minor=0) == []


def captures(stack: Stack, payment_id: str) -> threading.Thread:
    """Captures the payment, whose answer says that it is under way."""

    def capture() -> None:
        with Client(stack.address, stack.keys.api_key, 5.0) as client:
            client.capture(
                pb.CapturePaymentRequest(payment_id=payment_id, idempotency_key=payment_id)
            )

    thread = threading.Thread(target=capture)
    thread.start()
    return thread
