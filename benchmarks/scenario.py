"""What is measured: scenarios as data.

A scenario is one kind of load on one arrangement of processes. Everything that stands in a report
is derived from these rows; a new row is run, shown and compared by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Job(StrEnum):
    """What each caller does, again and again."""

    PAY = "pay"
    """600 points and 400 yen by card."""
    POINTS = "points"
    """1,000 points alone."""
    DECLINES = "declines"
    """As PAY; three cards of ten are declined."""
    REFUNDS = "refunds"
    """As PAY, then all of it is given back; each is a transaction."""
    REPEATS = "repeats"
    """As PAY; each tenth request is sent twice at once."""


class Wire(StrEnum):
    """How the coordinator asks its participants."""

    IN_PROCESS = "in process"
    SINGLE = "single calls"
    STREAM = "one stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row of the report.

    name          stable: what reports are compared by
    in_flight     payments under way at once (a closed loop), or 0
    rate          payments that arrive in each second whatever is answered (an open loop), or 0
    of_peak       the same, as a multiple of what MANY made in the same round, or 0
    job           what callers do
    wire          how participants are asked
    delay_ms      how long participants in process take
    coordinators  processes that share the database and the callers
    behind        settled payments that are in the database already
    """

    name: str
    in_flight: int = 0
    rate: float = 0.0
    of_peak: float = 0.0
    job: Job = Job.PAY
    wire: Wire = Wire.IN_PROCESS
    delay_ms: int = 0
    coordinators: int = 1
    behind: int = 0

    @property
    def title(self) -> str:
        """For people."""
        parts = [f"{self.in_flight:,} in flight" if self.in_flight else self._arrivals]
        parts += [] if self.job is Job.PAY else [_JOBS[self.job]]
        if self.wire is not Wire.IN_PROCESS:
            parts.append(f"participants by {self.wire}")
        if self.delay_ms:
            parts.append(f"participants take {self.delay_ms} ms")
        if self.coordinators > 1:
            parts.append(f"{self.coordinators} coordinators")
        if self.behind:
            parts.append(f"{self.behind:,} payments behind")
        return ", ".join(parts)

    @property
    def _arrivals(self) -> str:
        return f"{self.of_peak:g} × the peak" if self.of_peak else f"{self.rate:g} arrive a second"


_JOBS = {
    Job.POINTS: "points only",
    Job.DECLINES: "30 % declined",
    Job.REFUNDS: "paid and refunded",
    Job.REPEATS: "10 % sent twice",
}

ONE = Scenario(name="one", in_flight=1)
FEW = Scenario(name="few", in_flight=64)
MANY = Scenario(name="many", in_flight=512)
SLOW = Scenario(name="slow", in_flight=512, delay_ms=20)
SINGLE = Scenario(name="single-calls", in_flight=512, wire=Wire.SINGLE)
STREAM = Scenario(name="one-stream", in_flight=512, wire=Wire.STREAM)
OPEN = Scenario(name="open", rate=400.0, delay_ms=20)
BUSY = Scenario(name="busy", of_peak=0.8)
OVERLOAD = Scenario(name="overload", of_peak=2.0)
TWO = Scenario(name="two-coordinators", in_flight=512, coordinators=2)
FOUR = Scenario(name="four-coordinators", in_flight=512, coordinators=4)
FRESH = Scenario(name="little-behind", in_flight=512, behind=10_000)
OLD = Scenario(name="much-behind", in_flight=512, behind=1_000_000)

SCENARIOS = (
    ONE,
    FEW,
    MANY,
    SLOW,
    OPEN,
    BUSY,
    OVERLOAD,
    Scenario(name="points-only", in_flight=512, job=Job.POINTS),
    Scenario(name="declines", in_flight=512, job=Job.DECLINES),
    Scenario(name="refunds", in_flight=512, job=Job.REFUNDS),
    Scenario(name="repeats", in_flight=512, job=Job.REPEATS),
    SINGLE,
    STREAM,
    TWO,
    FOUR,
    FRESH,
    OLD,
)
"""All of them, in the order of the report."""
