"""An Observer that counts.

It is told in the event loop's thread; the metrics are read in another one, and guard themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

from coordinator.domain.entries import Act, EntryKind, JournalEntry
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import SETTLED, Event, State
from coordinator.domain.outcome import Outcome, outcome_name
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import Change, Transaction
from coordinator.metrics.codes import ATTENTION_CODES, ATTENTION_LABELS, FAILURE_CODES, known
from coordinator.metrics.instruments import Instruments
from coordinator.ports import BreakerState


class MetricsObserver:
    """An `Observer`.

    participants  the names that calls and breakers will have
    faults        kind and place of those that are injected on purpose
    """

    def __init__(
        self,
        instruments: Instruments,
        *,
        participants: Iterable[str],
        faults: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._count = instruments
        for label in ATTENTION_LABELS:  # what begins at 1 does not show as an increase
            self._count.attention[label,].inc(0)
        for act in Act:
            self._count.acts[act.value,].inc(0)
        for fault in faults:
            self._count.injected[fault].inc(0)
        for participant in participants:
            self.breaker_changed(participant, BreakerState.CLOSED)

    def committed(self, change: Change) -> None:
        """Counts what the journal's new lines and the announcements tell."""
        for entry in change.entries:
            if entry.kind is EntryKind.TRANSITION:
                self._moved(change.after, entry)
            elif entry.kind is EntryKind.ATTEMPT and entry.attempt > 1:
                self._count.retries[entry.phase, entry.operation].inc()
            elif entry.kind is EntryKind.OPERATOR:
                self._count.acts[entry.event,].inc()
        for event in change.events:
            if event.attention is not None:
                self._count.attention[known(event.attention.code, ATTENTION_CODES),].inc()

    def _moved(self, after: Transaction, entry: JournalEntry) -> None:
        kind = "payment" if after.refund_of is None else "refund"
        if entry.from_state is None:
            self._count.accepted[kind, after.flow].inc()
        if entry.event == Event.RELEASE:
            code = known(entry.code, FAILURE_CODES)
            self._count.releases[after.flow, entry.phase, code].inc()
        if entry.to_state in SETTLED:
            state = entry.to_state.value
            code = known(after.failure.code, FAILURE_CODES) if after.failure else ""
            self._count.settled[kind, after.flow, state, code].inc()
            if entry.to_state is not State.REFUNDED:
                capture = "manual" if after.manual else "automatic"
                seconds = (entry.at - after.created_at).total_seconds()
                self._count.duration[kind, after.flow, state, capture].observe(seconds)

    def troubled(
        self,
        what: str,
        error: BaseException,
        transaction_id: str = "",  # noqa: ARG002 - no label
    ) -> None:
        """Counts the kind of error; `what` is always one of our own words."""
        self._count.troubles[what, type(error).__name__].inc()
        if what == "drive":
            self._count.bugs.inc()

    def called(
        self, participant: str, operation: Operation, outcome: Outcome, seconds: float
    ) -> None:
        """Counts the call."""
        self._count.calls[participant, operation.value, outcome_name(outcome)].observe(seconds)

    def grouped(self, writes: int, seconds: float) -> None:
        """Counts the group."""
        self._count.group_writes.observe(writes)
        self._count.group_seconds.observe(seconds)

    def claim_lost(self, transaction_id: TransactionId) -> None:  # noqa: ARG002 - no label
        """Counts it."""
        self._count.claims_lost.inc()

    def breaker_changed(self, participant: str, state: BreakerState) -> None:
        """Keeps the state."""
        for each in BreakerState:
            self._count.breaker[participant, each.value].set(each is state)

    def served(self, method: str, code: str) -> None:
        """Counts the call."""
        self._count.served[method, code].inc()
        if code == "INTERNAL":
            self._count.bugs.inc()

    def injected(
        self,
        kind: str,
        place: str,
        transaction_id: str = "",  # noqa: ARG002 - no label
    ) -> None:
        """Counts it."""
        self._count.injected[kind, place].inc()
