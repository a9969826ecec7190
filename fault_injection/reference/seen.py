"""What can be seen of every payment and refund at one moment, and what was asked: plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fault_injection.reference.rules import NOTHING, Wanted

Body: TypeAlias = tuple[object, ...]
"""What has to be the same when a key is used again."""


@dataclass(frozen=True, slots=True)
class Part:
    """One participant's part, as the row and the participant have it.

    role       takes, gives or keeps
    minor      how much of it was asked for, in minor units
    final      how much of that was decided to become final; None until then
    word       what the participant knows of it
    confirmed  how much became final there, in minor units
    pivot      whether its Confirm leaves first and may be refused
    refused    whether the participant ever refused it
    """

    role: str
    minor: int
    final: int | None
    word: str = NOTHING
    confirmed: int = 0
    pivot: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One payment or refund.

    payment  what a refund gives back; empty for payments
    ordinal  the how-manieth of its refunds it is; 0 for payments
    """

    id: str
    caller: str
    key: str
    flow: str
    order: str
    minor: int
    state: str
    version: int
    failure: str
    capture_key: str
    held_by: str
    refunded: int
    payment: str
    ordinal: int
    parts: Mapping[str, Part]

    def shares(self, role: str) -> dict[str, int]:
        """How much of each part with this role is, or is to become, final; all until decided."""
        return {
            phase: part.minor if part.final is None else part.final
            for phase, part in self.parts.items()
            if part.role == role
        }


@dataclass(frozen=True, slots=True)
class Create:
    """A payment that somebody asks for: its key, and the body by which keys are compared.

    tenders    how much of each, in minor units, in the flow's order
    reserve_s  how long it may wait to be captured, in seconds
    supersede  whether it cancels another payment of its order
    """

    caller: str
    key: str
    flow: str
    tenders: tuple[tuple[str, int], ...]
    total: int
    order: str = ""
    supersede: bool = False
    manual: bool = False
    reserve_s: float = 900.0
    source: str = "source"

    @property
    def body(self) -> Body:
        """What has to be the same when the key is used again."""
        how = (self.order, self.supersede, self.manual, self.reserve_s, self.source)
        return ("create", self.flow, self.tenders, self.total, *how)


@dataclass(frozen=True, slots=True)
class Take:
    """A capture that somebody asks for."""

    caller: str
    key: str
    payment: str
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class GiveBack:
    """A refund that somebody asks for."""

    caller: str
    key: str
    payment: str
    wanted: Wanted

    @property
    def body(self) -> Body:
        """What has to be the same when the key is used again."""
        return ("refund", self.payment, self.wanted)


@dataclass(slots=True)
class Asked:
    """Everything that was ever asked, answered or not: what happens has to come from here.

    creates, refunds  by caller and key, each with when it was asked first, in seconds
    cancels           payments that their caller wanted to be cancelled
    superseded        orders that somebody wanted to pay anew, with their caller
    stopped           transactions that an operator wanted to be cancelled
    answered          transactions of which an operator said what became of a step
    """

    creates: dict[tuple[str, str], list[tuple[float, Create]]] = field(default_factory=dict)
    refunds: dict[tuple[str, str], list[GiveBack]] = field(default_factory=dict)
    captures: dict[str, list[Take]] = field(default_factory=dict)
    cancels: set[str] = field(default_factory=set)
    superseded: set[tuple[str, str]] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
