"""What is counted, under which names and labels; and that the page says the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from coordinator.domain.entries import Act
from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.machine import Event, State
from coordinator.domain.moves import advance, record
from coordinator.domain.operating import Mandate, held
from coordinator.domain.outcome import Applied, Unknown
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Draft, Failure, RefundOf, Result
from coordinator.metrics.codes import ATTENTION_CODES, FAILURE_CODES, OTHER
from coordinator.metrics.instruments import Instruments
from coordinator.metrics.observer import MetricsObserver
from coordinator.ports import BreakerState
from tests.support.domain import BOTH, ID, NOW, opened, standing

ROOT = Path(__file__).resolve().parents[2]
LATER = NOW + timedelta(seconds=3)


class Counted:
    """An observer over instruments of its own, and what they read."""

    def __init__(self, faults: Iterable[tuple[str, str]] = ()) -> None:
        self.instruments = Instruments("1.2.3")
        self.observer = MetricsObserver(
            self.instruments, participants=["card", "points"], faults=faults
        )

    def committed(self, draft: Draft) -> None:
        self.observer.committed(draft.change(now=LATER, due_at=None, keep_claim=True))

    def read(self, name: str, **labels: str) -> float | None:
        return self.instruments.registry.get_sample_value(name, labels)

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """Every sample of the name, by its label values in the order of the labels."""
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.instruments.registry.collect()
            for sample in family.samples
            if sample.name == name
        }


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_an_accepted_payment_is_counted_once(counted: Counted) -> None:
    draft = opened(BOTH)
    counted.committed(draft)
    counted.committed(Draft(draft.transaction))
    assert counted.all("kessai_transactions_accepted_total") == {("payment", BOTH.name): 1}


def test_a_paid_payment_is_counted_with_how_long_it_took(counted: Counted) -> None:
    counted.committed(advance(standing(State.SETTLING), BOTH, (Event.PAY,), LATER))
    of = {"kind": "payment", "flow": BOTH.name, "state": "PAID"}
    assert counted.read("kessai_transactions_settled_total", **of, code="") == 1
    name = "kessai_transaction_duration_seconds"
    assert counted.read(f"{name}_count", **of, capture="automatic") == 1
    assert counted.read(f"{name}_sum", **of, capture="automatic") == 3


def test_a_refund_is_not_a_payment(counted: Counted) -> None:
    start = standing(State.SETTLING)
    refund = evolve(start.transaction, refund_of=RefundOf(ID, 1))
    counted.committed(advance(Draft(refund), BOTH, (Event.PAY,), LATER))
    assert counted.all("kessai_transactions_settled_total") == {
        ("refund", BOTH.name, "PAID", ""): 1
    }


def test_a_payment_that_is_refunded_later_is_not_timed_again(counted: Counted) -> None:
    counted.committed(advance(standing(State.PAID), BOTH, (Event.REFUND,), LATER))
    assert counted.all("kessai_transactions_settled_total") == {
        ("payment", BOTH.name, "REFUNDED", ""): 1
    }
    assert counted.all("kessai_transaction_duration_seconds_count") == {}


def test_a_later_commit_of_a_settled_payment_does_not_count_it_again(counted: Counted) -> None:
    counted.committed(Draft(evolve(standing(State.PAID).transaction, refunded_minor=300)))
    assert counted.all("kessai_transactions_settled_total") == {}


@pytest.mark.parametrize(
    ("code", "label"),
    [("TRY_DEADLINE_EXCEEDED", "TRY_DEADLINE_EXCEEDED"), ("WHATEVER_IT_SAYS_42", "OTHER")],
)
def test_a_release_has_its_reason_and_a_participants_own_codes_are_one(
    counted: Counted, code: str, label: str
) -> None:
    failure = Failure(code, "a reason", "card_charge")
    draft = advance(standing(State.CREATED), BOTH, (Event.RELEASE,), LATER, failure)
    counted.committed(draft)
    counted.committed(advance(Draft(draft.transaction), BOTH, (Event.FAIL,), LATER))
    released, settled = "kessai_releases_total", "kessai_transactions_settled_total"
    assert counted.all(released) == {(BOTH.name, "card_charge", label): 1}
    assert counted.all(settled) == {("payment", BOTH.name, "FAILED", label): 1}


def test_our_own_failure_codes_are_those_of_the_page() -> None:
    _, _, section = (ROOT / "docs/errors.md").read_text().partition("## Failure codes of a payment")
    assert set(re.findall(r"^\| ([A-Z_]+) \|", section, re.MULTILINE)) == FAILURE_CODES


def test_every_failure_code_that_the_code_gives_is_known() -> None:
    sources = [path.read_text() for path in (ROOT / "coordinator").rglob("*.py")]
    given = {
        code
        for source in sources
        for code in re.findall(r'(?:Failure\(\s*|refusal_code=)"([A-Z_]+)"', source)
    }
    assert "CANCELLED_BY_OPERATOR" in given
    assert given <= FAILURE_CODES


def test_injected_faults_are_counted_by_kind_and_place_from_the_start() -> None:
    counted = Counted(faults=[("reply-lost", "card/confirm"), ("broker-away", "publisher")])
    counted.observer.injected("reply-lost", "card/confirm", ID)
    assert counted.all("kessai_injected_faults_total") == {
        ("reply-lost", "card/confirm"): 1,
        ("broker-away", "publisher"): 0,
    }


def test_only_repeated_calls_are_retries(counted: Counted) -> None:
    unknown = Result("card_charge", Operation.CONFIRM, Unknown("UNAVAILABLE"))
    draft = standing(State.CAPTURING)
    for _ in range(3):
        draft = record(draft, BOTH, [unknown], NOW)
    counted.committed(draft)
    assert counted.all("kessai_retries_total") == {("card_charge", "confirm"): 2}


def test_attention_is_counted_when_it_is_raised_and_not_again(counted: Counted) -> None:
    draft = standing(State.SETTLING)
    for code in ("ANSWER_MISMATCH", "ANSWER_MISMATCH"):
        unknown = Unknown(code, "odd", suspicious=True)
        result = Result("points_reserve", Operation.CONFIRM, unknown)
        draft = record(Draft(draft.transaction), BOTH, [result], NOW)
        counted.committed(draft)
    raised = counted.all("kessai_attention_raised_total")
    assert {code for code, value in raised.items() if value} == {("ANSWER_MISMATCH",)}
    assert raised["ANSWER_MISMATCH",] == 1


def test_an_operators_act_is_counted(counted: Counted) -> None:
    counted.committed(held(standing(State.SETTLING), Mandate("ann", "a reason"), NOW))
    acts = counted.all("kessai_operator_acts_total")
    assert {act for (act,), value in acts.items() if value} == {"hold"}
    assert {act for (act,) in acts} == set(Act)


def test_every_attention_code_is_shown_from_the_start(counted: Counted) -> None:
    assert {code for (code,) in counted.all("kessai_attention_raised_total")} == {
        *ATTENTION_CODES,
        OTHER,
    }


def test_a_call_is_timed_by_participant_operation_and_outcome(counted: Counted) -> None:
    counted.observer.called("card", Operation.TRY, Applied(), 0.25)
    counted.observer.called("card", Operation.TRY, Applied(), 0.5)
    counted.observer.called("card", Operation.TRY, Unknown("DEADLINE_EXCEEDED"), 3.0)
    assert counted.all("kessai_participant_call_seconds_sum") == {
        ("card", "try", "applied"): 0.75,
        ("card", "try", "unknown"): 3.0,
    }


def test_a_breaker_is_in_one_state_and_closed_at_first(counted: Counted) -> None:
    counted.observer.breaker_changed("card", BreakerState.OPEN)
    assert counted.all("kessai_participant_breaker_state") == {
        ("card", "closed"): 0,
        ("card", "half-open"): 0,
        ("card", "open"): 1,
        ("points", "closed"): 1,
        ("points", "half-open"): 0,
        ("points", "open"): 0,
    }


def test_groups_claims_answers_and_troubles_are_counted(counted: Counted) -> None:
    counted.observer.grouped(17, 0.004)
    counted.observer.claim_lost(ID)
    counted.observer.served("CreatePayment", "OK")
    counted.observer.troubled("commit", StoreUnavailable("connection refused"), ID)
    assert counted.read("kessai_commit_group_writes_sum") == 17
    assert counted.read("kessai_commit_group_seconds_sum") == 0.004
    assert counted.read("kessai_claims_lost_total") == 1
    assert counted.all("kessai_calls_served_total") == {("CreatePayment", "OK"): 1}
    assert counted.all("kessai_troubles_total") == {("commit", "StoreUnavailable"): 1}


def test_our_own_bugs_are_counted_and_the_trouble_of_others_is_not(counted: Counted) -> None:
    counted.observer.troubled("drive", KeyError("x"), ID)
    counted.observer.served("GetPayment", "INTERNAL")
    counted.observer.troubled("commit", StoreUnavailable("connection refused"), ID)
    counted.observer.served("GetPayment", "UNAVAILABLE")
    assert counted.read("kessai_bugs_total") == 2


def test_every_process_has_counters_of_its_own() -> None:
    first, second = Counted(), Counted()
    first.observer.claim_lost(ID)
    assert second.read("kessai_claims_lost_total") == 0
    assert first.read("kessai_build_info", version="1.2.3") == 1


def described(registry: CollectorRegistry) -> dict[str, tuple[str, str]]:
    """Type and help text of our own metrics, by the name that Prometheus knows them by."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: (
            family.type,
            family.documentation,
        )
        for family in registry.collect()
        if family.name.startswith("kessai_")
    }


def labels_of(instruments: Instruments) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for value in vars(instruments).values():
        metric: Any = getattr(value, "_metric", value)
        if isinstance(metric, CollectorRegistry):
            continue
        suffix = "_total" if metric._type == "counter" else ""
        found[f"{metric._name}{suffix}"] = metric._labelnames
    return found


def documented() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Type, help text and labels of every metric of docs/metrics.md."""
    rows = re.findall(
        r"^\| `(kessai_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$",
        (ROOT / "docs/metrics.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == len({row[0] for row in rows}), "a metric is listed once"
    return {
        name: (kind, text.strip(), tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, text in rows
    }


def test_the_page_lists_every_metric_with_its_type_labels_and_meaning(counted: Counted) -> None:
    kinds, labels = described(counted.instruments.registry), labels_of(counted.instruments)
    assert documented() == {name: (*kinds[name], labels[name]) for name in kinds}


def test_names_say_their_unit_as_prometheus_wants_it(counted: Counted) -> None:
    for name, (kind, text) in described(counted.instruments.registry).items():
        assert re.fullmatch(r"kessai(_[a-z]+)+", name), name
        assert (kind == "counter") == name.endswith("_total"), name
        assert text.endswith("."), name
        assert not name.endswith(("_count", "_sum", "_bucket", "_ms")), name
