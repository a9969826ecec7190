"""What a peer is to the comparison: something that makes payments, and says how it was set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one system found; see `benchmarks.peers.results.Run`."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]
    others: dict[str, int]


class System(Protocol):
    """Kessai or a peer."""

    name: str

    @property
    def settings(self) -> str:
        """Versions and what makes it durable, in a line."""

    def run(self, in_flight: int, seconds: float) -> Figures:
        """A run in fresh processes, with so many payments in flight for so long."""


def figures(found: dict[str, Any], cpu_s: dict[str, float]) -> Figures:
    """The figures of a load generator's result and the CPU seconds taken meanwhile."""
    others = dict(found["states"])
    paid = others.pop("PAID", 0)
    return Figures(
        rate=paid / found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        cpu_ms={name: seconds * 1000 / max(paid, 1) for name, seconds in cpu_s.items()},
        others=others,
    )
