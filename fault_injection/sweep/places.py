"""Where something may go wrong, and what may go wrong there: the data of exhaustive campaigns.

A place is a word, and its points are numbered in the order in which a run reaches them:

    card_charge.try              the calls of this step, attempt by attempt
    refund-1.card_charge.try     the same, of the first refund
    participant.card             every call that reaches this participant
    commit                       every commit that a coordinator hands over
    recovery                     those after a coordinator died and another one came
    write                        every attempt to make a group of commits durable
    database                     every time that the database is asked something
    broker                       every event that is offered to the broker

Nothing here names a flow or a phase: places and faults come from the registry and from the
simulator's kinds of fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.postgres.trouble import Kind, diagnose
from coordinator.domain.flow import Flow
from coordinator.domain.phase import Operation, Phase
from fault_injection.model_participant import Defer, Refuse, Twice
from fault_injection.simulation.database_faults import DATABASE_FAULTS, READ, kind_of
from fault_injection.simulation.swarm import (
    BROKER_AWAY,
    CALL_FAULTS,
    DATABASE_AWAY,
    OUTAGE,
    is_possible,
)

COMMIT = "commit"
RECOVERY = "recovery"
WRITE = "write"
DATABASE = "database"
BROKER = "broker"
PARTICIPANT = "participant."
"""What a participant's place begins with."""

CRASH_BEFORE = "crash-before"
CRASH_DURING = "crash-during"
CRASH_AFTER = "crash-after"
CRASHES = (CRASH_BEFORE, CRASH_DURING, CRASH_AFTER)
"""A coordinator dies before it hands a commit over, when that is durable but it does not know yet,
or after it."""


@dataclass(frozen=True, slots=True)
class WriteFault:
    """What a writer meets at one of its fault points, and what it takes that for."""

    point: str
    error: Callable[[], Exception]

    @property
    def kind(self) -> Kind:
        """Whether the store tries again."""
        return diagnose(self.error()).kind


WRITE_FAULTS: Mapping[str, WriteFault] = {
    name: WriteFault(point, fault.errors[0])
    for name, fault in DATABASE_FAULTS.items()
    for point in fault.points
    if point != READ
}
"""What may befall a group of commits."""


def write_fault(point: str, error: Exception) -> str:
    """The name of what a group of commits met at this point."""
    return kind_of(point, error) or DATABASE_AWAY


_CALL = re.compile(r"(?:(refund-[0-9]+)\.)?([a-z0-9_]+)\.([a-z]+)")


def call_place(refund: str, phase: str, operation: Operation) -> str:
    """The place of a step's calls; `refund` is refund-1, refund-2, … or empty for the payment."""
    return ".".join(filter(None, (refund, phase, operation.value)))


def participant_place(name: str) -> str:
    """The place of every call to this participant."""
    return PARTICIPANT + name


def lengths_of(place: str, fault: str, lengths: Sequence[int]) -> Sequence[int]:
    """How often in a row the fault may come there: in outages of these lengths.

    What is away, and connections that are lost, have all of them. That one step's requests or
    replies alone are lost or late has the longest.
    """
    if place in {COMMIT, RECOVERY} or not lengths:
        return ()
    if place == WRITE:
        return lengths if WRITE_FAULTS[fault].kind is Kind.LOST else ()
    if place in {DATABASE, BROKER} or place.startswith(PARTICIPANT):
        return lengths
    answered = isinstance(CALL_FAULTS[fault][0], Refuse | Defer | Twice)  # it is not asked again
    return () if answered else (max(lengths),)


def faults_at(place: str, flow: Flow) -> tuple[str, ...]:
    """The names of the faults that may be at this place of the flow; none: there is no place."""
    if place in {COMMIT, RECOVERY}:
        return CRASHES
    if place == WRITE:
        return tuple(WRITE_FAULTS)
    if place == DATABASE:
        return (DATABASE_AWAY,)
    if place == BROKER:
        return (BROKER_AWAY,)
    if place.startswith(PARTICIPANT):
        served = {participant_place(phase.participant) for phase in flow.called}
        return (OUTAGE,) if place in served else ()
    return _call_faults(place, flow)


def _call_faults(place: str, flow: Flow) -> tuple[str, ...]:
    found = _CALL.fullmatch(place)
    if found is None:
        return ()
    phases = flow.refund.called if found[1] else flow.called
    phase = _named(phases, found[2])
    if phase is None or found[3] not in set(Operation):
        return ()
    operation = Operation(found[3])
    return tuple(
        name for name, (fault, _) in CALL_FAULTS.items() if is_possible(fault, operation, phase)
    )


def _named(phases: Iterable[Phase], name: str) -> Phase | None:
    return next((phase for phase in phases if phase.name == name), None)
