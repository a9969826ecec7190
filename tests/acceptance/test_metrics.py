"""A real coordinator serves its metrics beside its payments."""

from __future__ import annotations

import json
import re
import tempfile
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from coordinator.cli import telling
from coordinator.cli.client import Client
from coordinator.cli.stack import COORDINATOR, Plan, Stack
from coordinator.cli.up import OPTIONS

Samples = dict[tuple[str, ...], float]


def metrics_address(stack: Stack) -> str:
    lines = [json.loads(line) for line in stack.log(COORDINATOR).read_text().splitlines()]
    (address,) = (line["address"] for line in lines if line.get("event") == "metrics served")
    return str(address)


def scraped(stack: Stack) -> dict[str, Samples]:
    """Every sample, by its name and its label values in the order of the label names."""
    url = f"http://{metrics_address(stack)}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        text = response.read().decode()
    assert not re.search("tok_|alice|shop-1|demo", text), "nothing of a request is in the metrics"
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[values] = sample.value
    return found


def test_a_payment_and_a_refusal_are_in_the_metrics_of_the_process() -> None:
    settings = {"KESSAI_METRICS_LISTEN": "127.0.0.1:0"}
    with (
        tempfile.TemporaryDirectory(prefix="kessai-metrics-", dir="/tmp") as folder,
        Stack(Plan(Path(folder) / "stack", options=OPTIONS, settings=settings)) as stack,
    ):
        with Client(stack.address, stack.keys.api_key, 30.0) as client:
            client.create(telling.request("paid", card="tok_ok", yen=400))
            client.create(telling.request("refused", card="tok_declined", yen=400))
        found = scraped(stack)
    assert found["kessai_transactions_settled_total"] == {
        ("", "points_and_card", "payment", "PAID"): 1,
        ("OTHER", "points_and_card", "payment", "FAILED"): 1,
    }
    calls = found["kessai_participant_call_seconds_count"]
    assert calls["try", "applied", "card"] == calls["try", "refused", "card"] == 1
    assert found["kessai_calls_served_total"] == {("OK", "CreatePayment"): 2}
    assert found["kessai_commit_group_writes_sum"][()] >= 2
    assert found["kessai_participant_breaker_state"]["card", "closed"] == 1
    assert found["kessai_participant_calls_in_flight"]["card",] == 0
    assert found["kessai_driven_transactions"][()] == 0
    assert found["kessai_store_up"][()] == 1
    assert found["kessai_flow_paused"]["points_and_card",] == 0
