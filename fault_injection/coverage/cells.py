"""Which cells there are: every fault that every call, commit and event may meet, with its outcomes.

All of it comes from the registry of flows and phases, from the table of states and from the kinds
of fault, so that a new flow, phase or kind has its cells at once, counted as 0.

What is listed here has to be seen. Other outcomes are possible as well and are counted too: a
second coordinator wins a race, a Try that should be refused was held before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from adapters.postgres.trouble import Kind
from coordinator.domain.flow import Flow
from coordinator.domain.machine import ANNOUNCED, INITIAL, TABLE, State
from coordinator.domain.phase import Operation, Phase
from fault_injection.coverage.tally import BROKER, DIED, NONE, STORE, Cell, flow_label
from fault_injection.model_participant import Defer, Refuse, Twice
from fault_injection.simulation.swarm import (
    BROKER_AWAY,
    CALL_FAULTS,
    DATABASE_AWAY,
    OUTAGE,
    is_possible,
)
from fault_injection.sweep.places import CRASHES, WRITE_FAULTS

COMMITTED, UNAVAILABLE = "committed", "unavailable"
TAKEN, NOT_TAKEN = "taken", "not taken"
_PAYMENT_ALONE = frozenset({State.RESERVED, State.REFUNDED})
"""What a refund never is: it waits for nobody, and is not given back."""


def cells_of(flows: Mapping[str, Flow]) -> tuple[Cell, ...]:
    """Every cell of these flows and their refunds, in the order in which they are shown."""
    return tuple(
        Cell(flow_label(flow.name, refund=refund), *what)
        for flow in flows.values()
        for refund in (False, True)
        for what in _of(flow.refund if refund else flow, refund=refund)
    )


def _of(flow: Flow, *, refund: bool) -> Iterator[tuple[str, str, str, str]]:
    for phase, operation in product(flow.called, Operation):
        for fault, outcome in _call(phase, operation):
            yield phase.name, operation.value, fault, outcome
    for state, (fault, outcome) in product(_states(flow, refund=refund), _commit()):
        yield STORE, f"commit {state}", fault, outcome
    for state, (fault, outcome) in product(_announced(refund=refund), _event()):
        yield BROKER, f"publish {state}", fault, outcome


def _call(phase: Phase, operation: Operation) -> Iterator[tuple[str, str]]:
    yield NONE, "applied"
    for name, (fault, _) in CALL_FAULTS.items():
        if is_possible(fault, operation, phase):
            answered = {Refuse: "refused", Defer: "pending", Twice: "applied"}
            yield name, answered.get(type(fault), "unknown")
    yield OUTAGE, "unknown"


def _commit() -> Iterator[tuple[str, str]]:
    yield NONE, COMMITTED
    for name, met in WRITE_FAULTS.items():
        if met.kind in {Kind.LOST, Kind.TRANSIENT}:
            yield name, COMMITTED  # the store tries again
        if met.kind is not Kind.TRANSIENT:
            yield name, UNAVAILABLE
    yield DATABASE_AWAY, COMMITTED
    yield DATABASE_AWAY, UNAVAILABLE
    for fault in CRASHES:
        yield fault, DIED


def _event() -> Iterable[tuple[str, str]]:
    return (NONE, TAKEN), (BROKER_AWAY, NOT_TAKEN)


def _states(flow: Flow, *, refund: bool) -> list[State]:
    """Those in which a transaction is committed; without a pivot CAPTURING is passed through."""
    reached = {INITIAL, *(row.target for row in TABLE)}
    never = _PAYMENT_ALONE if refund else frozenset()
    never |= frozenset() if flow.pivot else {State.CAPTURING}
    return [state for state in State if state in reached - never]


def _announced(*, refund: bool) -> list[State]:
    return [
        state for state in State if state in ANNOUNCED and not (refund and state in _PAYMENT_ALONE)
    ]
