"""What `bootstrap` wires: the world outside, and the coordinator in it. Nothing is done here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.engine.accept import Accept
from coordinator.engine.cancel import Cancel
from coordinator.engine.drive import Driver
from coordinator.engine.intake import Intake
from coordinator.engine.periodic import Periodic
from coordinator.faults import Faults
from coordinator.ports import (
    Clock,
    GuardedParticipant,
    Ids,
    Observer,
    Participant,
    Publisher,
    Randomness,
    Store,
    Surroundings,
)
from coordinator.rpc.callbacks import CallbackServicer
from coordinator.rpc.gate import Gate
from coordinator.rpc.payments import PaymentServicer


@dataclass(frozen=True, slots=True)
class World:
    """What the engine needs from outside: an implementation for every port."""

    store: Store
    participants: Mapping[str, Participant]
    publisher: Publisher | None
    clock: Clock
    ids: Ids
    randomness: Randomness
    observer: Observer
    surroundings: Surroundings | None = None
    faults: Faults | None = None


@dataclass(frozen=True, slots=True)
class Coordinator:
    """The use cases over one world."""

    driver: Driver
    accept: Accept
    cancel: Cancel
    services: tuple[Periodic, ...]
    gate: Gate
    servicer: PaymentServicer
    callbacks: CallbackServicer
    participants: Mapping[str, GuardedParticipant]
    intake: Intake
