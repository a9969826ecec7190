"""What a running service finds by its entry point: rules, and wrappers for its ports and wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coordinator.ports import Clock, Observer, Participant, Publisher, Store
from fault_injection.faults.injection import Injection
from fault_injection.faults.kinds import Area
from fault_injection.faults.participant import FaultyParticipant
from fault_injection.faults.publisher import FaultyPublisher
from fault_injection.faults.reading import read
from fault_injection.faults.rules import Rule
from fault_injection.faults.store import FaultyStore
from fault_injection.faults.wire import FromCallers, ToParticipant


class Plan:
    """Rules that were read. Implements `coordinator.faults.FaultPlan`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)

    @property
    def rules(self) -> Sequence[str]:
        """The rules as they can be read again."""
        return [str(rule) for rule in self._rules]

    @property
    def kinds(self) -> Sequence[tuple[str, str]]:
        """Kind and place of each."""
        return [(rule.kind.name, rule.place.text) for rule in self._rules]

    def start(self, *, clock: Clock, observer: Observer) -> Staged:
        """Puts them to work, in the running loop."""
        return Staged(self, Injection(self._rules, clock=clock, observer=observer))


class Staged:
    """Rules at work. Implements `coordinator.faults.Faults`.

    A port that no rule is about is left as it is.
    """

    def __init__(self, plan: Plan, injection: Injection) -> None:
        self._plan = plan
        self._injection = injection
        self.commit_point = injection.commit_point

    @property
    def rules(self) -> Sequence[str]:
        """The rules as they can be read again."""
        return self._plan.rules

    def participant(self, name: str, participant: Participant) -> Participant:
        """The participant of this name, with faults."""
        if not self._injection.has(Area.PARTICIPANTS):
            return participant
        return FaultyParticipant(name, participant, self._injection)

    def store(self, store: Store) -> Store:
        """The store, with faults; rules about a flow learn from it which is whose."""
        return FaultyStore(store, self._injection)

    def publisher(self, publisher: Publisher) -> Publisher:
        """The broker, with faults."""
        if not self._injection.has(Area.PUBLISHER):
            return publisher
        return FaultyPublisher(publisher, self._injection)

    def to_participant(self, name: str) -> Sequence[Any]:
        """Interceptors of the calls to this participant."""
        if not self._injection.has(Area.OUTGOING):
            return ()
        return (ToParticipant(name, self._injection),)

    def from_callers(self) -> Sequence[Any]:
        """Interceptors of callers' calls."""
        return (FromCallers(self._injection),) if self._injection.has(Area.INCOMING) else ()


def plan_of(text: str) -> Plan:
    """The rules of a file or of a short text. Raises ConfigurationError naming rule and field."""
    return Plan(read(text))
