"""Every metric there is, in a registry of its own; docs/metrics.md lists the same ones.

Labels have few values, all of them known in advance: what participants and callers write freely is
never one. A gauge that tells of the whole database is the same in every process that looks at it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Metric,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics import MetricWrapperBase

CALL_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SETTLED_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
GROUP_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
GROUP_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

M = TypeVar("M", bound=MetricWrapperBase)


class Children(dict[tuple[str, ...], M], Generic[M]):
    """The children of a metric by their label values: `labels()` costs twice an increment."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: tuple[str, ...]) -> M:
        child = self[values] = self._metric.labels(*values)
        return child


class _Registry(CollectorRegistry):
    """Without the `_created` sample of every counter and histogram, which nobody asks for."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric


class Instruments:
    """The metrics of one process, which runs `version` of Kessai.

    The registry also has those of the process and of Python.
    """

    def __init__(self, version: str) -> None:
        self.registry: CollectorRegistry = _Registry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._transactions()
        self._calls()
        self._commits()
        self._process()
        self._census()
        self._waiting()
        self.build.labels(version).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=tuple(buckets))

    def _transactions(self) -> None:
        self.accepted = Children(
            self._counter(
                "kessai_transactions_accepted_total",
                "Payments and refunds that were durably accepted.",
                "kind",
                "flow",
            )
        )
        self.settled = Children(
            self._counter(
                "kessai_transactions_settled_total",
                "Payments and refunds that reached a settled state.",
                "kind",
                "flow",
                "state",
                "code",
            )
        )
        self.duration = Children(
            self._histogram(
                "kessai_transaction_duration_seconds",
                "From the acceptance of a payment or refund until it was paid or failed.",
                SETTLED_BUCKETS_S,
                "kind",
                "flow",
                "state",
                "capture",
            )
        )
        self.releases = Children(
            self._counter(
                "kessai_releases_total",
                "Decisions not to pay, by the reason's code and the phase that gave it.",
                "flow",
                "phase",
                "code",
            )
        )

        self.attention = Children(
            self._counter(
                "kessai_attention_raised_total",
                "Transactions that newly needed a person, by the code of the reason.",
                "code",
            )
        )

        self.acts = Children(
            self._counter(
                "kessai_operator_acts_total",
                "What operators did to payments and refunds.",
                "act",
            )
        )

    def _calls(self) -> None:
        self.calls = Children(
            self._histogram(
                "kessai_participant_call_seconds",
                "Calls of participants that came back; abandoned ones are not counted.",
                CALL_BUCKETS_S,
                "participant",
                "operation",
                "outcome",
            )
        )
        self.retries = Children(
            self._counter(
                "kessai_retries_total",
                "Calls of participants beyond the first of a step's operation; query: polls.",
                "phase",
                "operation",
            )
        )
        self.breaker = Children(
            self._gauge(
                "kessai_participant_breaker_state",
                "1 for the state that a participant's circuit breaker is in, 0 for the others.",
                "participant",
                "state",
            )
        )
        self.participant_in_flight = Children(
            self._gauge(
                "kessai_participant_calls_in_flight",
                "Calls of the participant that have left and are not answered.",
                "participant",
            )
        )
        self.participant_waiting = Children(
            self._gauge(
                "kessai_participant_calls_waiting",
                "Calls that wait for one of the participant's places in flight.",
                "participant",
            )
        )
        self.served = Children(
            self._counter(
                "kessai_calls_served_total",
                "Calls of callers that were answered, by method and gRPC status.",
                "method",
                "code",
            )
        )

    def _commits(self) -> None:
        self.group_writes = self._histogram(
            "kessai_commit_group_writes",
            "Writes that were committed together.",
            GROUP_BUCKETS,
        )
        self.group_seconds = self._histogram(
            "kessai_commit_group_seconds",
            "From handing a group of writes to the database until its end was known.",
            GROUP_BUCKETS_S,
        )
        self.claims_lost = self._counter(
            "kessai_claims_lost_total",
            "Transactions this process was driving that another process had taken meanwhile.",
        )
        # Without labels: the first one of a new series would not show as an increase.
        self.bugs = self._counter(
            "kessai_bugs_total",
            "Calls that ended as INTERNAL, and payments whose task ended by an error of ours.",
        )
        self.troubles = Children(
            self._counter(
                "kessai_troubles_total",
                "What failed and will be tried again, or is a bug, by the kind of error.",
                "what",
                "error",
            )
        )

    def _process(self) -> None:
        self.injected = Children(
            self._counter(
                "kessai_injected_faults_total",
                "Faults brought about on purpose (KESSAI_FAULTS), by kind and place.",
                "kind",
                "place",
            )
        )
        self.build = self._gauge(
            "kessai_build_info", "Always 1; the version of this process.", "version"
        )
        self.driven = self._gauge(
            "kessai_driven_transactions", "Transactions that this process drives now."
        )
        self.calls_in_flight = self._gauge(
            "kessai_calls_in_flight", "Calls of callers that this process serves now."
        )

    def _census(self) -> None:
        self.store_up = self._gauge(
            "kessai_store_up", "Whether the last look at the database succeeded: 1 or 0."
        )
        self.looked_at = self._gauge(
            "kessai_census_timestamp_seconds",
            "When the database was last looked at with success, in Unix time.",
        )
        self.live = Children(
            self._gauge("kessai_live_transactions", "Payments and refunds not settled.", "state")
        )
        self.oldest = Children(
            self._gauge(
                "kessai_live_oldest_seconds",
                "How long the longest has been in its state.",
                "state",
            )
        )
        self.in_doubt = self._gauge(
            "kessai_in_doubt_transactions",
            "Decided and not finished: CAPTURING, SETTLING or CANCELLING.",
        )
        self.in_doubt_oldest = self._gauge(
            "kessai_in_doubt_oldest_seconds", "How long the longest of those has been in its state."
        )
        self.overdue = self._gauge("kessai_overdue_transactions", "Due, and claimed by no process.")
        self.overdue_oldest = self._gauge(
            "kessai_overdue_oldest_seconds", "How long the longest of those has been due."
        )

    def _waiting(self) -> None:
        self.needing_attention = Children(
            self._gauge(
                "kessai_attention_transactions",
                "Live transactions that need a person, by the code of the reason.",
                "code",
            )
        )
        self.held = self._gauge(
            "kessai_held_transactions", "Live transactions that operators hold."
        )
        self.waiting = Children(
            self._gauge(
                "kessai_waiting_steps", "Unfinished steps whose last call met an error.", "phase"
            )
        )
        self.waiting_oldest = Children(
            self._gauge(
                "kessai_waiting_oldest_seconds",
                "How long the longest of those has been waiting.",
                "phase",
            )
        )
        self.paused = Children(
            self._gauge(
                "kessai_flow_paused", "Whether the flow takes no new payments: 1 or 0.", "flow"
            )
        )
        self.outbox = self._gauge("kessai_outbox_events", "Events that are not published yet.")
        self.outbox_oldest = self._gauge(
            "kessai_outbox_oldest_seconds", "How long the longest of those has been waiting."
        )
