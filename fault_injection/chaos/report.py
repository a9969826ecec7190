"""What came of a chaos run: how fast, how soon after each fault, and what did not hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table

from coordinator.cli.output import table
from fault_injection.chaos.havoc import Strike
from fault_injection.chaos.history import Answer, percentile
from fault_injection.chaos.readings import Reading

CREATE = "create"
ENDED = frozenset({"PAID", "FAILED"})


@dataclass(frozen=True, slots=True)
class Recovery:
    """How soon after one fault all was well, in seconds since its cause was over; None: never.

    settled_s  until the first payment that was created after it was settled
    caught_up_s  until nothing was overdue
    """

    strike: Strike
    settled_s: float | None
    caught_up_s: float | None


def recoveries(
    strikes: Sequence[Strike], answers: Sequence[Answer], overdue: Sequence[Reading]
) -> tuple[Recovery, ...]:
    """One for each fault."""
    settled = sorted(
        (answer.began_s, answer.ended_s)
        for answer in answers
        if answer.call == CREATE and answer.said in ENDED
    )
    return tuple(
        Recovery(
            strike,
            _after(strike, [ended_s for began_s, ended_s in settled if began_s >= strike.ended_s]),
            _after(strike, [look.at_s for look in overdue if _well(look, strike)]),
        )
        for strike in strikes
    )


def _well(look: Reading, strike: Strike) -> bool:
    return look.overdue == 0 and look.at_s >= strike.ended_s


def _after(strike: Strike, moments: Sequence[float]) -> float | None:
    return min(moments) - strike.ended_s if moments else None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run.

    load_s        how long shops bought, in seconds
    transactions  payments and refunds, by the state in which they ended
    answers       calls that were answered, all kinds
    create_s      how long a shop waited for a payment's first answer, repeats included: p50, p99
    call_s        the same of every call
    spoilt        how many calls to participants went wrong, by how
    books         how often all balances were read while it ran
    quiet_s       how long after the last fault all was settled, in seconds; None when it was not
    """

    seed: int
    load_s: float
    by_state: Mapping[str, int]
    answers: int
    payments: int
    create_s: tuple[float | None, float | None]
    call_s: tuple[float | None, float | None]
    recoveries: tuple[Recovery, ...]
    spoilt: Mapping[str, int]
    books: int
    quiet_s: float | None
    violations: tuple[str, ...]

    @property
    def transactions(self) -> int:
        """Payments and refunds that there are."""
        return sum(self.by_state.values())

    @property
    def rate(self) -> float:
        """Payments that were answered, a second."""
        return self.payments / self.load_s if self.load_s else 0.0

    @property
    def faults(self) -> Mapping[str, int]:
        """How often each kind of fault was done."""
        return Counter(each.strike.kind for each in self.recoveries)

    def record(self) -> dict[str, object]:
        """As JSON can have it."""
        return {
            "seed": self.seed,
            "load_s": round(self.load_s, 1),
            "payments": self.payments,
            "payments_per_s": round(self.rate, 1),
            "transactions": self.transactions,
            "by_state": dict(self.by_state),
            "answers": self.answers,
            "create_s": _percentiles(self.create_s),
            "call_s": _percentiles(self.call_s),
            "faults": dict(self.faults),
            "recoveries": [
                {
                    **asdict(each.strike),
                    "settled_s": each.settled_s,
                    "caught_up_s": each.caught_up_s,
                }
                for each in self.recoveries
            ],
            "spoilt_calls": dict(self.spoilt),
            "books_read": self.books,
            "quiet_s": self.quiet_s,
            "violations": list(self.violations),
        }

    def view(self) -> RenderableType:
        """For people: a few lines, and a table of the faults."""
        return Group(str(self), self._table())

    def _table(self) -> Table:
        """Each kind of fault: how often, and how soon all was well."""
        columns = ("fault", "times", "first payment settled", "caught up")
        made = table(*columns, right=columns[1:])
        kinds: dict[str, list[Recovery]] = defaultdict(list)
        for each in self.recoveries:
            kinds[each.strike.kind].append(each)
        for kind, group in sorted(kinds.items()):
            settled = _spread([each.settled_s for each in group])
            made.add_row(
                kind, str(len(group)), settled, _spread([each.caught_up_s for each in group])
            )
        return made

    def __str__(self) -> str:
        """A few lines."""
        quiet = "never" if self.quiet_s is None else f"{self.quiet_s:.1f} s after the last fault"
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.by_state.items()))
        speed = f"{self.payments} payments in {self.load_s:.0f} s, {self.rate:.1f} a second"
        faults = f"{sum(self.faults.values())} faults, {sum(self.spoilt.values())} spoilt calls"
        return "\n".join(
            (
                f"seed {self.seed}: {speed}; {self.answers} answers",
                f"answered: payments {_told(self.create_s)}, every call {_told(self.call_s)}",
                f"{self.transactions} transactions: {states}; all settled {quiet}",
                f"all books read {self.books} times while it ran",
                f"{faults}, {len(self.violations)} violations",
            )
        )


def waits(answers: Sequence[Answer]) -> tuple[float | None, float | None]:
    """p50 and p99 of how long was waited, in seconds."""
    took = [answer.took_s for answer in answers]
    return percentile(took, 0.5), percentile(took, 0.99)


def _percentiles(found: tuple[float | None, float | None]) -> dict[str, float | None]:
    return {"p50": found[0], "p99": found[1]}


def _told(found: tuple[float | None, float | None]) -> str:
    p50, p99 = found
    return "–" if p50 is None or p99 is None else f"p50 {p50:.3f} s, p99 {p99:.3f} s"


def _spread(found: Sequence[float | None]) -> str:
    """Median and longest; how often it never came."""
    known = [each for each in found if each is not None]
    never = len(found) - len(known)
    told = f"{median(known):.1f} s, at most {max(known):.1f} s" if known else ""
    return ", ".join(filter(None, (told, f"{never} × not seen" if never else "")))
