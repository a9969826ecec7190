"""Kinds of fault that can be switched on in a running service, as data.

What `kessai simulate` knows as well has the same name here and means the same; its words are taken
from there. The others are of the wire alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum

from coordinator.domain.phase import Operation
from fault_injection.simulation import swarm
from fault_injection.simulation.database_faults import (
    AFTER_COMMIT,
    BEFORE_COMMIT,
    BEFORE_WRITE,
    DATABASE_FAULTS,
)


class Area(StrEnum):
    """Where a fault can be brought about."""

    PARTICIPANTS = "participants"
    """The Participant port: a phase's, a participant's, or anybody's calls, by operation."""
    STORE = "store"
    """The Store port, by method."""
    COMMIT = "commit"
    """Inside the store, by the point that a group of writes has reached."""
    PUBLISHER = "publisher"
    """The Publisher port."""
    OUTGOING = "outgoing"
    """gRPC calls to participants, by method."""
    INCOMING = "incoming"
    """gRPC calls of callers, by method."""


POINTS = (BEFORE_WRITE, BEFORE_COMMIT, AFTER_COMMIT)
"""Where a group of writes can be (`adapters.postgres.group_writer`)."""
COMMIT_METHOD = "commit"
"""The method of the Store port that writes transactions."""
_ALL: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    areas       where it can happen; at which operations, methods or points there (none: all)
    duration_s  how long it lasts, or delays, in seconds, if a rule does not say; None: takes none
    lasts       whether it befalls everything that comes while it lasts
    coded       whether it is a gRPC status, of which a rule says the code
    """

    name: str
    what: str
    areas: Mapping[Area, tuple[str, ...]]
    duration_s: float | None = None
    lasts: bool = False
    coded: bool = False

    def happens_at(self, area: Area, detail: str) -> bool:
        """Whether it can happen at this operation, method or point; empty: at any of them."""
        if area not in self.areas:
            return False
        return not detail or not self.areas[area] or detail in self.areas[area]


REQUEST_LOST, REPLY_LOST, LATE, VERY_LATE = "request-lost", "reply-lost", "late", "very-late"
DELIVERED_TWICE, OVERTAKEN = "delivered-twice", "overtaken"
REFUSED, PENDING = "refused", "pending"
OUTAGE, BROKER_AWAY, DATABASE_AWAY = swarm.OUTAGE, swarm.BROKER_AWAY, swarm.DATABASE_AWAY
COMMIT_FAILED, COMMIT_UNHEARD = swarm.COMMIT_FAILED, swarm.COMMIT_UNHEARD
SLOW, ERROR, ERROR_AFTER = "slow", "error", "error-after"

_CALLS: Mapping[Area, tuple[str, ...]] = {
    Area.PARTICIPANTS: _ALL,
    Area.OUTGOING: _ALL,
    Area.INCOMING: _ALL,
    Area.PUBLISHER: _ALL,
}
_WIRE: Mapping[Area, tuple[str, ...]] = {Area.OUTGOING: _ALL, Area.INCOMING: _ALL}
_WINDOW_S = 30.0


def _window(name: str, *areas: Area) -> Kind:
    """What lasts for a while."""
    return Kind(name, swarm.KINDS[name], dict.fromkeys(areas, _ALL), _WINDOW_S, lasts=True)


def _of_call(name: str, areas: Mapping[Area, tuple[str, ...]]) -> Kind:
    """What befalls one call; how long it delays that is as in the simulation."""
    fault, what = swarm.CALL_FAULTS[name]
    times = [value for value in astuple(fault) if isinstance(value, float)]
    return Kind(name, what, areas, times[0] if times else None)


def _of_database(name: str) -> Kind:
    """What the database says instead of committing, at the points that are named there."""
    fault = DATABASE_FAULTS[name]
    at_port = {Area.STORE: (COMMIT_METHOD,)} if name in {COMMIT_FAILED, COMMIT_UNHEARD} else {}
    points = tuple(point for point in fault.points if point in POINTS)
    return Kind(name, fault.what, {**at_port, Area.COMMIT: points})


_TRY, _CONFIRM = Operation.TRY.value, Operation.CONFIRM.value
_LISTED = (
    _of_call(REQUEST_LOST, _CALLS),
    _of_call(REPLY_LOST, _CALLS),
    _of_call(LATE, {Area.PARTICIPANTS: _ALL}),
    _of_call(VERY_LATE, {Area.PARTICIPANTS: _ALL}),
    _of_call(DELIVERED_TWICE, {Area.PARTICIPANTS: _ALL}),
    _of_call(OVERTAKEN, {Area.PARTICIPANTS: _ALL}),
    _of_call(REFUSED, {Area.PARTICIPANTS: (_TRY, _CONFIRM)}),
    _of_call(PENDING, {Area.PARTICIPANTS: (_TRY,)}),
    _window(OUTAGE, Area.PARTICIPANTS, Area.OUTGOING),
    _window(DATABASE_AWAY, Area.STORE),
    *(_of_database(name) for name in DATABASE_FAULTS),
    _window(BROKER_AWAY, Area.PUBLISHER),
    Kind(SLOW, "the effect is done, the answer takes its time", {**_CALLS, Area.STORE: _ALL}, 1.0),
    Kind(ERROR, "a gRPC error before the effect", _WIRE, coded=True),
    Kind(ERROR_AFTER, "the effect is done, and a gRPC error is the answer", _WIRE, coded=True),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _LISTED}
"""Every kind that can be switched on in a running service, by its name."""
SIMULATED_ONLY = frozenset(swarm.KINDS) - KINDS.keys()
"""Kinds that only `kessai simulate` can bring about."""
