"""One act on many transactions: one after the other, with a progress bar and a line for each.

Lines go to stdout as they come, so that an interruption loses none of them; the bar and the summary
are messages.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from adapters.system import SystemClock
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.output import Format, data, emit, emit_all, messages, plain, say

NOT_NEEDED = frozenset({"ALREADY_SETTLED", "BEING_DRIVEN", "NOTHING_TO_RETRY"})
"""Refusals that are no trouble where a filter chose the transaction: it went on meanwhile, or waits
for nobody who could be asked."""
IN_VAIN = frozenset({"UNAUTHENTICATED", "CREDENTIAL_EXPIRED", "STORE_UNAVAILABLE"})
"""Refusals that all others would get as well."""


class Outcome(StrEnum):
    """What became of one transaction."""

    RESUMED = "resumed"
    NOT_NEEDED = "not needed"
    REFUSED = "refused"
    WOULD_BE_RESUMED = "would be resumed"
    WOULD_BE_REFUSED = "would be refused"


_COLOURS = {
    Outcome.REFUSED: "red",
    Outcome.WOULD_BE_REFUSED: "red",
    Outcome.NOT_NEEDED: "yellow",
}


@dataclass(frozen=True, slots=True)
class Result:
    """One transaction and what became of it; `code` and `reason` of a refusal."""

    transaction_id: str
    outcome: Outcome
    state: str = ""
    code: str = ""
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """As programs read it."""
        return {
            "transaction_id": self.transaction_id,
            "result": self.outcome.value.replace(" ", "_"),
            "state": self.state,
            "code": self.code,
            "reason": self.reason,
        }

    def line(self) -> Text:
        """As people read it."""
        text = Text(f"{plain(self.transaction_id)}  ")
        text.append(self.outcome, style=_COLOURS.get(self.outcome, "green"))
        why = ": ".join(filter(None, (self.code, self.reason)))
        for more in filter(None, (self.state, why)):
            text.append(f"  {plain(more)}")
        return text


class Pace:
    """Lets at most so many a second through; None: as fast as it goes."""

    def __init__(self, per_second: float | None) -> None:
        self._interval_s = 0.0 if per_second is None else 1 / per_second
        self._clock = SystemClock()
        self._next_s = 0.0

    def wait(self) -> None:
        """Returns when the next one may go."""
        now_s = self._clock.monotonic()
        if now_s < self._next_s:
            _wait(self._next_s - now_s)
        self._next_s = max(now_s, self._next_s) + self._interval_s


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


class Run:
    """Acts on one after the other.

    `act` raises Failure for a refusal. With `by_filter` nobody named them, so that those that went
    on by themselves meanwhile are no trouble.
    """

    def __init__(
        self, act: Callable[[str], Result], *, pace: Pace, by_filter: bool, output: Format
    ) -> None:
        self.counted: Counter[Outcome] = Counter()
        self._act = act
        self._pace = pace
        self._by_filter = by_filter
        self._output = output
        self._records: list[dict[str, Any]] = []

    def __call__(self, ids: Sequence[str]) -> None:
        """Prints what became of each, then a summary, also when it is interrupted.

        Raises Failure when all others would fail as well.
        """
        try:
            with _bar(len(ids), self._output) as bar:
                for transaction_id in ids:
                    self._pace.wait()
                    self._print(self._result(transaction_id), bar.lines)
                    bar.advance()
        finally:
            if self._output is Format.JSON:
                emit_all(self._output, self._records, str)
            self._sum_up(len(ids))

    def _result(self, transaction_id: str) -> Result:
        try:
            result = self._act(transaction_id)
        except Failure as failure:
            if failure.exit_code is ExitCode.UNREACHABLE or failure.code in IN_VAIN:
                raise
            reasons = [
                failure.message,
                *(f"{each.field}: {each.message}" for each in failure.fields),
            ]
            told = "; ".join(reasons)
            result = Result(transaction_id, Outcome.REFUSED, code=failure.code, reason=told)
        if self._by_filter and result.code in NOT_NEEDED:
            return replace(result, outcome=Outcome.NOT_NEEDED)
        return result

    def _print(self, result: Result, lines: Console) -> None:
        self.counted[result.outcome] += 1
        match self._output:
            case Format.TABLE:
                lines.print(result.line(), soft_wrap=True)
            case Format.JSONL:
                emit(self._output, result.record(), str)
            case Format.JSON:
                self._records.append(result.record())

    def _sum_up(self, of: int) -> None:
        done = sum(self.counted.values())
        told = [f"{self.counted[each]:,} {each}" for each in Outcome if self.counted[each]]
        if done < of:
            told.append(f"{of - done:,} not done: repeat the command to go on")
        say(", ".join(told))


@dataclass(frozen=True, slots=True)
class _Bar:
    """`advance` after each step; `lines` takes what stands above the bar."""

    advance: Callable[[], None]
    lines: Console


@contextmanager
def _bar(total: int, output: Format) -> Iterator[_Bar]:
    """A progress bar on a terminal, unless lines for programs go to the same one."""
    console, to = messages(), data()
    if not console.is_terminal or (to.is_terminal and output is Format.JSONL):
        yield _Bar(lambda: None, to)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # another console's lines would not be redirected
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task("resuming", total=total)
        # The bar's own console moves it out of the way; in a pipe nothing is in the way.
        yield _Bar(lambda: progress.advance(task), console if to.is_terminal else to)
