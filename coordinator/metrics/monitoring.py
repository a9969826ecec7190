"""The metrics of one process, put together: what counts, what looks, and what serves it all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from coordinator.domain.flow import Flow
from coordinator.engine.periodic import Periodic
from coordinator.metrics.census import INTERVAL_S, TakeCensus
from coordinator.metrics.instruments import Instruments
from coordinator.metrics.observer import MetricsObserver
from coordinator.metrics.server import MetricsServer
from coordinator.ports import Clock, GuardedParticipant, Observer, Store


class Monitoring:
    """Metrics of `version` of Kessai at `listen` (`HOST:PORT`); empty: nobody can see them.

    `faults` are kind and place of those that are injected on purpose.

    Raises ConfigurationError when the address cannot be bound.
    """

    def __init__(
        self,
        version: str,
        listen: str,
        *,
        participants: Iterable[str],
        faults: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._instruments = Instruments(version)
        self.observer = MetricsObserver(self._instruments, participants=participants, faults=faults)
        self._server = MetricsServer(self._instruments.registry, listen) if listen else None

    def close(self) -> None:
        """Serves no longer."""
        if self._server is not None:
            self._server.close()

    def watch(
        self,
        *,
        driven: Callable[[], int],
        calls: Callable[[], int],
        participants: Mapping[str, GuardedParticipant],
    ) -> None:
        """From now on reads these whenever somebody asks, in whatever thread."""
        self._instruments.driven.set_function(driven)
        self._instruments.calls_in_flight.set_function(calls)
        for name, participant in participants.items():
            self._watch(name, participant)

    def _watch(self, name: str, participant: GuardedParticipant) -> None:
        in_flight = self._instruments.participant_in_flight[name,]
        in_flight.set_function(lambda: participant.status().in_flight)
        waiting = self._instruments.participant_waiting[name,]
        waiting.set_function(lambda: participant.status().waiting)

    def services(
        self, *, store: Store, clock: Clock, observer: Observer, flows: Mapping[str, Flow]
    ) -> tuple[Periodic, ...]:
        """What looks at the database; nothing when nobody can see it."""
        if self._server is None:
            return ()
        phases = {phase.name for flow in flows.values() for phase in flow.called}
        census = TakeCensus(self._instruments, store=store, clock=clock, flows=flows, phases=phases)
        run = census.run_once
        return (Periodic("census", run, interval_s=INTERVAL_S, clock=clock, observer=observer),)
