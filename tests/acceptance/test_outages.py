"""Real processes are killed and stopped under payments; afterwards the books are asked."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, and the seed is printed
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli import telling
from coordinator.cli.client import Client
from coordinator.cli.events import collect
from coordinator.cli.failures import Failure
from coordinator.cli.ledgers import Ledgers, imbalances
from coordinator.cli.show import state_name
from coordinator.cli.stack import Plan, Stack
from coordinator.cli.up import OPTIONS

SETTLED = {"PAID", "FAILED"}
KILLS = 4
CLIENTS = 4
SEED = 20261121


@pytest.fixture
def stack() -> Iterator[Stack]:
    settings = {"KESSAI_LEASE_S": "3", "KESSAI_RECOVER_INTERVAL_S": "0.3"}
    options = {**OPTIONS, "points": ("--seed=alice=1000000", "--seed=bob=50")}
    with (
        tempfile.TemporaryDirectory(prefix="kessai-outages-", dir="/tmp") as folder,
        Stack(Plan(Path(folder) / "stack", options=options, settings=settings)) as running,
    ):
        yield running


def everything(client: Client) -> list[pb.Payment]:
    return list(client.search(pb.ListPaymentsRequest(), limit=10_000))


def test_with_the_broker_down_payments_settle_and_events_wait(stack: Stack) -> None:
    with Client(stack.address, stack.keys.api_key, 30.0) as client:
        before = client.create(telling.request("before", card="tok_ok", yen=400)).payment
        assert set(collected(stack, 1).values()) == {(before.payment_id, "PAID")}
        stack.nats.stop()
        during = [
            client.create(telling.request(f"during-{n}", card="tok_ok", yen=100)).payment
            for n in range(3)
        ]
        assert {state_name(payment) for payment in during} == {"PAID"}
        stack.nats.start()
        announced = collected(stack, 4)
    wanted = {(payment.payment_id, "PAID") for payment in (before, *during)}
    assert set(announced.values()) == wanted
    assert len(announced) == 4


def collected(stack: Stack, expected: int) -> dict[str, tuple[str, str]]:
    """What arrived at the broker; asks again until all is there (the stream is made late)."""
    for _ in range(60):
        found = collect(stack.nats.url, expected, 5.0)
        if len(found) >= expected:
            break
        time.sleep(0.5)
    return {event: (item.subject, item.state) for event, item in found.items()}


def test_a_coordinator_killed_again_and_again_loses_and_doubles_nothing(stack: Stack) -> None:
    chance = random.Random(SEED)
    told: dict[str, str] = {}
    stopping = threading.Event()
    clients = [
        threading.Thread(target=buy_until, args=(stack, number, stopping, told))
        for number in range(CLIENTS)
    ]
    for thread in clients:
        thread.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.5, 2.5))  # when to kill, not a wait for something
        stack.children["coordinator"].kill()
        stack.restart("coordinator")
    stopping.set()
    for thread in clients:
        thread.join(60)
        assert not thread.is_alive()
    with Client(stack.address, stack.keys.api_key, 60.0) as client:
        ends = {
            payment.payment_id: state_name(list(client.watch(payment.payment_id))[-1])
            for payment in everything(client)
        }
        paid_minor = sum(
            payment.amount.minor_units
            for payment in everything(client)
            if state_name(payment) == "PAID"
        )
    print(f"seed {SEED}: {len(ends)} payments, {len(told)} answered, {KILLS} kills")  # noqa: T201 - every random run says its seed
    assert len(ends) > KILLS
    assert set(ends.values()) <= SETTLED
    assert {payment: ends[payment] for payment in told} == told, "what was told is still true"
    with Ledgers(
        {name: stack.database_urls[name] for name in ("points", "card", "merchant")}
    ) as books:
        assert imbalances(books.books(), paid_minor, refunded_minor=0) == []


def buy_until(stack: Stack, number: int, stopping: threading.Event, told: dict[str, str]) -> None:
    """A shop: pays again and again, repeating a call whose answer never came with the same key."""
    count = 0
    while not stopping.is_set():
        count += 1
        card = ("tok_ok", "tok_declined", "tok_capture_declined")[count % 3]
        request = telling.request(f"shop-{number}-{count}", points=60, card=card, yen=40)
        while True:
            try:
                with Client(stack.address, stack.keys.api_key, 10.0) as client:
                    payment = client.create(request).payment
                break
            except Failure:
                if stopping.is_set():
                    return
        if state_name(payment) in SETTLED:
            told[payment.payment_id] = state_name(payment)
