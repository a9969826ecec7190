"""A coordinator is stopped with payments under way, and another one ends them: real processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coordinator.cli import telling
from coordinator.cli.client import Client
from coordinator.cli.show import state_name
from coordinator.cli.stack import Plan, Stack
from coordinator.cli.up import OPTIONS
from tests.support.serving import servings

LEASE_S = 120.0
PAYMENTS = 8


@pytest.fixture
def stack() -> Iterator[Stack]:
    settings = {"KESSAI_LEASE_S": str(LEASE_S), "KESSAI_DRAIN_S": "0.5"}
    with (
        tempfile.TemporaryDirectory(prefix="kessai-handing-", dir="/tmp") as folder,
        Stack(Plan(Path(folder) / "stack", options=OPTIONS, settings=settings)) as running,
    ):
        yield running


def test_a_stopped_coordinators_payments_are_settled_by_another_long_before_its_lease_is_over(
    stack: Stack, tmp_path: Path
) -> None:
    first = stack.children["coordinator"]

    def buy(number: int) -> tuple[str, str]:
        """The card captures, and keeps its answer to itself."""
        request = telling.request(f"key-{number}", card="tok_timeout_after_capture", yen=100)
        with Client(stack.address, stack.keys.api_key, 1.5) as client:
            payment = client.create(request).payment
        return payment.payment_id, state_name(payment)

    with servings(tmp_path, first.environment) as serve:
        with ThreadPoolExecutor(PAYMENTS) as pool:
            told = dict(pool.map(buy, range(PAYMENTS)))
        assert set(told.values()) == {"CAPTURING"}
        second = serve("--listen", "127.0.0.1:0").address()
        asked = time.perf_counter()
        first.ask_to_stop()
        with Client(second, stack.keys.api_key, LEASE_S) as client:
            ends = {payment: state_name(list(client.watch(payment))[-1]) for payment in told}
        took_s = time.perf_counter() - asked
    assert set(ends.values()) == {"PAID"}
    assert took_s < LEASE_S / 4
