"""Looks at the database every few seconds, for what no single process can count.

How many payments are in doubt, since when, how many need a person: that is the same whichever
process asks, so that every one does, and whoever reads the metrics takes the largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import Gauge

from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.machine import IN_DOUBT, LIVE
from coordinator.metrics.codes import ATTENTION_CODES, ATTENTION_LABELS, known
from coordinator.metrics.instruments import Children, Instruments
from coordinator.ports import Census, Clock, Pause, Store

INTERVAL_S = 5.0
"""Pause between two looks, in seconds."""


class TakeCensus:
    """The service. `flows` are the flows that are served, `phases` those they are made of."""

    def __init__(
        self,
        instruments: Instruments,
        *,
        store: Store,
        clock: Clock,
        flows: Iterable[str],
        phases: Iterable[str],
    ) -> None:
        self._gauges = instruments
        self._store = store
        self._clock = clock
        self._flows = frozenset(flows)
        self._phases = frozenset(phases)

    async def run_once(self) -> int:
        """Takes one look; 0, since looking again at once would find the same.

        Raises StoreUnavailable: then the gauges keep what was seen last.
        """
        try:
            census = await self._store.census()
            pauses = await self._store.pauses()
        except StoreUnavailable:
            self._gauges.store_up.set(0)
            raise
        self._show(census)
        self._show_pauses(pauses)
        self._gauges.store_up.set(1)
        self._gauges.looked_at.set(self._clock.now().timestamp())
        return 0

    def _show(self, census: Census) -> None:
        gauges = self._gauges
        for state in LIVE:
            gauges.live[state.value,].set(census.by_state.get(state, 0))
            gauges.oldest[state.value,].set(census.oldest_s.get(state, 0.0))
        gauges.in_doubt.set(sum(census.by_state.get(state, 0) for state in IN_DOUBT))
        gauges.in_doubt_oldest.set(max(census.oldest_s.get(state, 0.0) for state in IN_DOUBT))
        gauges.overdue.set(census.overdue)
        gauges.overdue_oldest.set(census.overdue_oldest_s)
        gauges.held.set(census.held)
        gauges.outbox.set(census.outbox)
        gauges.outbox_oldest.set(census.outbox_oldest_s)
        attention = dict.fromkeys(ATTENTION_LABELS, 0.0)
        for code, count in census.attention.items():
            attention[known(code, ATTENTION_CODES)] += count
        _replace(gauges.needing_attention, attention)
        counts = dict.fromkeys(self._phases, 0.0)
        oldest = dict.fromkeys(self._phases, 0.0)
        for phase, waiting in census.waiting.items():
            counts[phase], oldest[phase] = waiting.count, waiting.oldest_s
        _replace(gauges.waiting, counts)
        _replace(gauges.waiting_oldest, oldest)

    def _show_pauses(self, pauses: Iterable[Pause]) -> None:
        now = self._clock.now()
        paused = dict.fromkeys(self._flows, 0.0)
        paused.update(
            (pause.flow, 1.0) for pause in pauses if pause.until is None or pause.until > now
        )
        _replace(self._gauges.paused, paused)


def _replace(gauges: Children[Gauge], values: Mapping[str, float]) -> None:
    """Shows these values by their one label, and 0 for what was shown before."""
    for (label,) in list(gauges):
        if label not in values:
            gauges[label,].set(0)
    for label, value in values.items():
        gauges[label,].set(value)
