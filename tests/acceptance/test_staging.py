"""A staging service that injects faults on purpose, as a real process: payments end right."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli import telling
from coordinator.cli.admin_client import AdminClient
from coordinator.cli.client import Client
from coordinator.cli.ledgers import Ledgers, imbalances
from coordinator.cli.show import state_name
from coordinator.cli.stack import COORDINATOR, LEDGERS, Plan, Stack
from coordinator.cli.up import OPTIONS
from tests.acceptance.test_metrics import scraped
from tests.support.serving import Serve, environment, servings

PAYMENTS = 24
RULES = (
    "reply-lost@card_charge/confirm,probability=0.3,seed=7",
    "error-after@outgoing:points,every=5,code=UNAVAILABLE",
    "commit-unheard@commit/after_commit,every=10",
    "commit-failed@commit/before_commit,every=8",
    "reply-lost@publisher,every=4",
    "slow@incoming/CreatePayment,every=6,duration_s=0.05",
)


@pytest.fixture
def stack() -> Iterator[Stack]:
    settings = {
        "KESSAI_PROFILE": "staging",
        "KESSAI_FAULTS": ";".join(RULES),
        "KESSAI_METRICS_LISTEN": "127.0.0.1:0",
        "KESSAI_PARTICIPANT_LIMITS": json.dumps({"card": {"timeout_s": 0.5}}),
    }
    with (
        tempfile.TemporaryDirectory(prefix="kessai-staging-", dir="/tmp") as folder,
        Stack(Plan(Path(folder) / "stack", options=OPTIONS, settings=settings)) as running,
    ):
        yield running


def logged(stack: Stack, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in stack.log(COORDINATOR).read_text().splitlines()]
    return [line for line in lines if line.get("event") == event]


def paid(stack: Stack, number: int) -> str:
    with Client(stack.address, stack.keys.api_key, 60.0) as client:
        request = telling.request(f"staging-{number}", points=60, card="tok_ok", yen=40)
        payment = client.create(request).payment
        return state_name(list(client.watch(payment.payment_id))[-1])


def test_with_a_third_of_the_captures_unheard_every_payment_ends_paid(stack: Stack) -> None:
    with ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(lambda number: paid(stack, number), range(PAYMENTS)))
    assert ends == ["PAID"] * PAYMENTS
    with Ledgers({name: stack.database_urls[name] for name in LEDGERS}) as books:
        assert imbalances(books.books(), 100 * PAYMENTS, refunded_minor=0) == []
    with Client(stack.address, stack.keys.api_key, 60.0) as client:
        everything = list(client.search(pb.ListPaymentsRequest(), limit=1000))
    assert len(everything) == PAYMENTS

    counted = scraped(stack)["kessai_injected_faults_total"]
    assert set(counted) == {tuple(rule.partition(",")[0].split("@")) for rule in RULES}
    assert counted["reply-lost", "card_charge/confirm"] >= 3
    assert all(counted.values()), "a rule struck nothing"
    lines = logged(stack, "fault injected")
    assert len(lines) == sum(counted.values())
    assert {line["level"] for line in lines} == {"warning"}
    [warning] = logged(stack, "faults are injected on purpose")
    assert (warning["level"], warning["profile"]) == ("warning", "staging")
    assert len(warning["rules"]) == len(RULES)

    with AdminClient(stack.admin_address, stack.keys.operator_key, 30.0) as operator:
        [told] = [check for check in operator.check_health() if check.name == "faults"]
    assert "reply-lost@card_charge/confirm,probability=0.3,seed=7" in told.finding


@pytest.fixture
def serve(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Serve]:
    with servings(tmp_path, environment(new_database())) as start:
        yield start


@pytest.mark.parametrize(
    ("profile", "faults", "told"),
    [
        ("production", "slow@store", "faults are never injected with the profile production"),
        ("staging", "replylost@card", "fault 1 (replylost@card): kind: there is no replylost"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_must_not_or_cannot_be_injected_ends_it_before_it_listens(
    serve: Serve, profile: str, faults: str, told: str, workers: str
) -> None:
    serving = serve(KESSAI_PROFILE=profile, KESSAI_FAULTS=faults, KESSAI_WORKERS=workers)
    assert serving.end() == 2
    assert serving.process.stdout is not None
    assert serving.process.stdout.read() == ""
    assert f"BAD_CONFIGURATION: KESSAI_FAULTS: {told}" in serving.log.read_text()
