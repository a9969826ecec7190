"""Kinds of fault as data, and which of them a seed allows (a swarm).

Some kinds are wholly off in each seed: with all of them always on, rare combinations are never
reached, because something more common always comes first.

Whether a call meets a fault depends on the seed and on that call alone, not on what happened
before. So a payment that is left out of a run changes little for the others, and a failing run can
be made smaller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

from coordinator.domain.decide import Call
from coordinator.domain.outcome import CANCELLED_AT_PARTICIPANT, HELD_BACK, UNKNOWN_TRANSACTION
from coordinator.domain.phase import Operation, Phase
from fault_injection.model_participant import (
    Defer,
    Fault,
    Late,
    LoseReply,
    LoseRequest,
    Overtaken,
    Refuse,
    Twice,
)
from fault_injection.simulation.database_faults import DATABASE_FAULTS

MAX_CRASHES = 6


def draw(*key: object) -> float:
    """Uniform in 0..1, and always the same for the same key."""
    text = "/".join(map(str, key)).encode()
    return int.from_bytes(blake2b(text, digest_size=7).digest(), "big") / 2**56


CALL_FAULTS: Mapping[str, tuple[Fault, str]] = {
    "request-lost": (LoseRequest(), "a request never arrives, the call times out"),
    "reply-lost": (LoseReply(), "the effect is done, the reply is lost, the call times out"),
    "late": (Late(1.0), "a request arrives before the call times out, but its reply does not"),
    "very-late": (Late(70.0), "a request arrives after every timeout"),
    "refused": (Refuse(), "a Try, or the pivot's Confirm (with any code), is refused"),
    "pending": (Defer(1.5), "a Try is decided later"),
    "delivered-twice": (Twice(20.0), "a request arrives, and once more long after its answer"),
    "overtaken": (Overtaken(70.0), "a request arrives just after the one that followed it"),
}
"""What may befall one call: its fault, and what that means."""

REFUSALS = (
    Refuse().code,
    CANCELLED_AT_PARTICIPANT,
    UNKNOWN_TRANSACTION,
    *sorted(HELD_BACK),
    "DEADLINE_EXCEEDED",
)
"""Codes a capture is refused with: a refusal is one whatever its code means elsewhere."""

OUTAGE = "outage"


@dataclass(frozen=True, slots=True)
class Silence(LoseRequest):
    """A request is lost because its participant answers nothing for a while."""


def fault_name(fault: Fault | None) -> str:
    """The kind of what befell a call; empty for nothing."""
    if fault is None:
        return ""
    if isinstance(fault, Silence):
        return OUTAGE
    alike = [name for name, (known, _) in CALL_FAULTS.items() if type(known) is type(fault)]
    exact = [name for name in alike if CALL_FAULTS[name][0] == fault]
    return (exact or alike)[0]


DATABASE_AWAY = "database-away"
COMMIT_FAILED, COMMIT_UNHEARD = "commit-failed", "commit-unheard"
BROKER_AWAY = "broker-away"
TWO_COORDINATORS = "two-coordinators"
TIGHT_GUARD = "tight-guard"
DUPLICATES = "duplicates"
CLOCK_JUMPS, OPERATORS, FROZEN = "clock-jumps", "operators", "frozen"

KINDS: Mapping[str, str] = {
    **{name: what for name, (_, what) in CALL_FAULTS.items()},
    OUTAGE: "a participant answers nothing for a while",
    DATABASE_AWAY: "the database takes no connections for a while",
    **{name: fault.what for name, fault in DATABASE_FAULTS.items()},
    BROKER_AWAY: "the broker takes nothing for a while",
    TWO_COORDINATORS: "a second coordinator works on the same database for a while",
    TIGHT_GUARD: "breakers that open at once, and bounds of calls in flight that are always full",
    DUPLICATES: "callers ask twice at the same instant",
    CLOCK_JUMPS: "a coordinator's own clock is up to a minute ahead or behind for a while",
    FROZEN: "a coordinator stands still, mostly for longer than its claims last, and goes on",
    OPERATORS: "operators hold, resume, cancel and resolve whatever they like",
}
"""Every kind of fault by its name, and what it is. Crashes are counted on their own."""

_SHARE_ON = 0.5
"""How many of the kinds a seed has on, in the mean."""
_RATES = (0.02, 0.05, 0.2, 0.5)
"""How often a call meets a fault, of those that a seed may choose."""
_DATABASE_RATE = 0.08
"""How often a unit of work meets a fault of a kind that is on."""
_WINDOW_S = 30.0
"""How long an outage lasts at most, in seconds."""

Windows: TypeAlias = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Swarm:
    """Which kinds of fault a run meets, how often, and until when.

    kinds      names of KINDS
    rate       0..1: how often a call meets a fault of its own
    healed_s   when the last fault is over, in seconds from the beginning
    """

    seed: int
    kinds: tuple[str, ...]
    rate: float
    healed_s: float

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown:
            raise ValueError(f"there is no fault {', '.join(unknown)}")
        if not 0 <= self.rate <= 1 or self.healed_s < 0:
            raise ValueError("rate must be in 0..1, and healed_s not below 0")

    def has(self, kind: str) -> bool:
        """Whether this kind is on."""
        return kind in self.kinds

    def windows(self, kind: str, what: str = "") -> Windows:
        """From when to when, in seconds, `kind` lasts (for `what`); none while it is off."""
        if not self.has(kind):
            return ()
        found = []
        for number in range(2):
            if draw(self.seed, kind, what, number) < 0.6:  # noqa: PLR2004 - not always
                start = draw(self.seed, kind, what, number, "start") * self.healed_s
                length = _WINDOW_S * draw(self.seed, kind, what, number, "length") ** 2
                found.append((start, min(start + length, self.healed_s)))
        return tuple(found)

    def fault(self, subject: str, call: Call, attempt: int) -> Fault | None:
        """What befalls the n-th (1, 2, …) call of this operation for this subject, if anything."""
        allowed = [fault for name, (fault, _) in CALL_FAULTS.items() if name in self.kinds]
        if not allowed:
            return None
        key = (self.seed, subject, call.phase.name, call.operation.value, attempt)
        chance = draw(*key)
        if chance >= self.rate:
            return None
        fault = allowed[int(chance / self.rate * len(allowed))]
        if not is_possible(fault, call.operation, call.phase):
            return None
        if isinstance(fault, Refuse) and call.operation is Operation.CONFIRM:
            return Refuse(REFUSALS[int(draw(*key, "code") * len(REFUSALS))])
        return fault

    def database_fault(
        self, point: str, reached: Counter[str]
    ) -> tuple[str, Callable[[], Exception]] | None:
        """What befalls a unit of work at this point, if anything: its kind, and the error.

        `reached` counts how often such a point was reached, for each kind.
        """
        for kind, fault in DATABASE_FAULTS.items():
            if point not in fault.points or not self.has(kind):
                continue
            reached[kind] += 1
            chance = draw(self.seed, kind, reached[kind] // fault.row)
            if chance < _DATABASE_RATE:
                return kind, fault.errors[int(chance / _DATABASE_RATE * len(fault.errors))]
        return None


def is_possible(fault: Fault, operation: Operation, phase: Phase) -> bool:
    """Whether such a call may meet the fault."""
    if isinstance(fault, Defer):
        return operation is Operation.TRY
    if isinstance(fault, Refuse):
        return operation is Operation.TRY or (
            operation is Operation.CONFIRM and phase.confirm_refusable
        )
    return True


def swarm_of(seed: int, kinds: tuple[str, ...] | None = None) -> Swarm:
    """The seed's swarm; `kinds` are on whatever the seed says, and no others.

    Raises ValueError for a kind that there is not.
    """
    if kinds is None:
        kinds = tuple(kind for kind in KINDS if draw(seed, "on", kind) < _SHARE_ON)
    rate = _RATES[int(draw(seed, "rate") * len(_RATES))]
    return Swarm(seed, kinds, rate, healed_s=10.0 + 50.0 * draw(seed, "healed"))


def within(windows: Windows, now_s: float) -> bool:
    """Whether one of the windows is open."""
    return any(start <= now_s < end for start, end in windows)
