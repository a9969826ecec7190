"""Places: where a fault is to happen, as text such as `card_charge/confirm` or `store/commit`.

What may be named is asked of the registry of phases, the ports and the contracts, so that a new
phase, operation or method is a place without being listed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kessai.participant.v1 import callbacks_pb2, participant_pb2
from kessai.payments.v1 import payments_pb2

from coordinator.domain.phase import Operation
from coordinator.ports import Store
from fault_injection.faults.kinds import POINTS, Area
from phases.registry import PHASES

PARTICIPANTS = tuple(sorted({phase.participant for phase in PHASES.values()} - {""}))
_CALLED = tuple(name for name, phase in PHASES.items() if phase.participant)


def _methods(*files: tuple[Any, str]) -> tuple[str, ...]:
    """The services' methods. With rules about them, no question goes over a stream of many."""
    found: list[str] = []
    for file, service in files:
        methods = file.DESCRIPTOR.services_by_name[service].methods
        found += [method.name for method in methods if not method.client_streaming]
    return tuple(found)


DETAILS: Mapping[Area, tuple[str, ...]] = {
    Area.PARTICIPANTS: tuple(operation.value for operation in Operation),
    Area.STORE: tuple(name for name in vars(Store) if not name.startswith("_")),
    Area.COMMIT: POINTS,
    Area.PUBLISHER: (),
    Area.OUTGOING: _methods((participant_pb2, "ParticipantService")),
    Area.INCOMING: _methods((payments_pb2, "PaymentService"), (callbacks_pb2, "CallbackService")),
}
"""What a place may name behind its slash: operations, methods or points."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault is to happen.

    name    a phase or a participant; empty: any
    detail  an operation, a method or a point; empty: any
    """

    text: str
    area: Area
    name: str = ""
    detail: str = ""

    def is_at(self, names: Sequence[str], detail: str) -> bool:
        """Whether what is called so, doing this, is at the place."""
        return self.name in ("", *names) and self.detail in ("", detail)


def place_of(text: str) -> Place:
    """The place that a text names. Raises ValueError, which says what there is."""
    head, slash, detail = text.partition("/")
    area, colon, name = head.partition(":")
    if head in (*_CALLED, *PARTICIPANTS):
        found = Place(text, Area.PARTICIPANTS, head, detail)
    elif area in set(Area) and (not colon or area == Area.OUTGOING):
        found = Place(text, Area(area), name, detail)
    else:
        known = (*Area, *_CALLED, *PARTICIPANTS)
        raise ValueError(f"there is no {head or 'empty place'}; there are {', '.join(known)}")
    if colon and name not in PARTICIPANTS:
        raise ValueError(
            f"there is no participant {name or 'without a name'}; "
            f"there are {', '.join(PARTICIPANTS)}"
        )
    if slash and detail not in DETAILS[found.area]:
        known = DETAILS[found.area] or ("nothing behind it",)
        raise ValueError(f"{head} has no {detail or 'empty name'}; it has {', '.join(known)}")
    return found
