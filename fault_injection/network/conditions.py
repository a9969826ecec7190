"""How a link between two processes may be: what happens to each way, and to who connects.

Programs know a network by its streams alone: bytes come late, never, or end in a reset. What a
condition says is said in those words; packets are below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of the bytes that are sent one way."""

    PASSED = "passed"
    HELD = "held"
    """Kept until the link is healed, then delivered: what TCP does with packets that are lost."""
    LOST = "lost"
    """Never delivered. A connection that lost bytes ends in a reset when the link is healed."""


class Connecting(StrEnum):
    """What becomes of a new connection."""

    TAKEN = "taken"
    HANGING = "hanging"
    """Nothing answers until the link is healed."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of a link.

    latency_s    how late each delivery is, in seconds
    jitter_s     up to how much later still, evenly spread, in seconds
    bytes_per_s  how much passes at most; None: no limit
    """

    fate: Fate = Fate.PASSED
    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if min(self.latency_s, self.jitter_s) < 0:
            raise ValueError("latency and jitter are 0 or more seconds")
        if self.bytes_per_s is not None and self.bytes_per_s <= 0:
            raise ValueError("bytes_per_s is above 0, or None")


@dataclass(frozen=True, slots=True)
class Condition:
    """How a link is.

    requests     from who connects to who listens
    replies      the other way
    connecting   new connections
    reset_after  each connection ends in a reset after so many bytes (at least, at most), counted
                 both ways from now on, in the middle of whatever is sent
    vanishing    connections that are open when it begins never hear anything again: no data, no
                 FIN, no RST, not even when the link is healed
    """

    requests: Way = Way()
    replies: Way = Way()
    connecting: Connecting = Connecting.TAKEN
    reset_after: tuple[int, int] | None = None
    vanishing: bool = False

    def __post_init__(self) -> None:
        if self.reset_after is not None and not 0 <= self.reset_after[0] <= self.reset_after[1]:
            raise ValueError("reset_after is (at least, at most) bytes")


CLEAR = Condition()
_HELD = Way(Fate.HELD)
_LOST = Way(Fate.LOST)
_SLOW = Way(latency_s=0.15, jitter_s=0.15, bytes_per_s=64_000)

CONDITIONS: Mapping[str, Condition] = {
    "partition": Condition(_HELD, _HELD, Connecting.HANGING),
    "requests-lost": Condition(requests=_LOST),
    "replies-lost": Condition(replies=_LOST),
    "requests-late": Condition(requests=_HELD),
    "replies-late": Condition(replies=_HELD),
    "slow": Condition(_SLOW, _SLOW),
    "half-open": Condition(connecting=Connecting.HANGING, vanishing=True),
    "reset": Condition(reset_after=(1, 4096)),
    "refused": Condition(connecting=Connecting.REFUSED),
}
"""Every fault of a network that is tried, by its name."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has passed over a link, and what has not.

    connections  how many were made
    open         how many are open now
    passed       bytes that were delivered, both ways
    lost         bytes that never will be
    held         deliveries that had to wait for healing
    resets       connections that were reset by us
    """

    connections: int = 0
    open: int = 0
    passed: int = 0
    lost: int = 0
    held: int = 0
    resets: int = 0
