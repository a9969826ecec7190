"""What a benchmark found: records that are kept as JSON, and read again for comparisons."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

VERSION = 1
"""Of the file's format."""
QUANTILES = (*range(0, 100, 5), 99, 99.9, 100)
"""Which quantiles of the latencies are kept, in per cent."""


class Unreadable(Exception):
    """The file is none of ours; says why."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One measured run of a scenario.

    rate        transactions in each second that ended as they should
    seconds     how long the load lasted
    answers     how callers were answered, by state or status: how many
    latency_ms  of those that ended as they should, at each of QUANTILES
    cpu_ms      CPU a transaction, by process: coordinator, database, participants, load
    commits     of the database, a transaction
    wal_bytes   what the database wrote to its log, a transaction
    """

    scenario: str
    round: int
    rate: float
    seconds: float
    answers: dict[str, int]
    latency_ms: list[float]
    cpu_ms: dict[str, float]
    commits: float
    wal_bytes: float

    def latency(self, quantile: float) -> float:
        """In ms; of one of QUANTILES."""
        return self.latency_ms[QUANTILES.index(quantile)]


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Many payments under way at once: how many, bytes for each of them, threads of the process."""

    in_flight: int
    bytes_each: float
    threads: int


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured. `load` is the system's load average when it began."""

    cpu: str
    cores: int
    system: str
    python: str
    postgres: str
    load: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All of one benchmark.

    build      what was measured: a commit, where that is known
    began      when, in UTC
    yardstick  pgbench's payments/s in each round
    titles     of the scenarios, by name, in the order of the report
    """

    version: int
    build: str
    began: str
    machine: Machine
    yardstick: list[float]
    titles: dict[str, str]
    runs: list[Run]
    memory: list[Memory]

    def of(self, scenario: str) -> list[Run]:
        """The runs of one scenario, by round."""
        return sorted(
            (run for run in self.runs if run.scenario == scenario), key=lambda run: run.round
        )

    def against_yardstick(self, scenario: str) -> list[float]:
        """The rate as a multiple of pgbench's, in each round."""
        return [run.rate / self.yardstick[run.round] for run in self.of(scenario)]


def write(results: Results, path: Path) -> None:
    """As JSON that people can read."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def read(path: Path) -> Results:
    """Raises Unreadable."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Results)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise Unreadable(f"{path} is not what `kessai bench run` writes: {error}") from None
    if found.version != VERSION:
        raise Unreadable(f"{path} has version {found.version}; this Kessai reads {VERSION}")
    return found


def middle(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the least and the greatest in brackets."""
    if not values:
        return "–"
    low, high = min(values), max(values)
    median = f"{statistics.median(values):,.{digits}f}"
    return median if low == high else f"{median} ({low:,.{digits}f}–{high:,.{digits}f})"
