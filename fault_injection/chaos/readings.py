"""Reads balances, ledgers and refunds all through a run: what must hold at any moment.

Past the coordinators and past every link, by SQL in one snapshot for each database. While a
database is down there is nothing to read; how often it was read is part of the report.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fault_injection.chaos.history import History
from participants.stock import stock_breaks
from participants.totals import ledger_breaks

LOOK_S = 0.25
SHARE = 3
"""Reading takes at most one part in so many of the time, however large the ledgers have become."""
OVERDUE_S = 1.0
"""Work that nobody has taken up for so long is overdue, in seconds: a scan has come by."""
BELOW = sa.text(
    "SELECT 'the postings sum to ' || s || ', not to 0' FROM"
    " (SELECT coalesce(sum(amount_minor), 0) AS s FROM ledger_postings) sums WHERE s <> 0"
    " UNION ALL SELECT account || ' has ' || balance_minor || ', of which ' || held_minor ||"
    " ' are held' FROM ledger_accounts WHERE balance_minor < 0 OR held_minor < 0"
)
REFUNDS = sa.text(
    """
    WITH paid AS (
        SELECT t.id, s.phase, s.role, t.refunded_minor,
               CASE WHEN t.state IN ('PAID', 'REFUNDED') THEN coalesce(s.final_minor, 0)
                    ELSE 0 END AS minor
        FROM transactions t JOIN steps s ON s.transaction_id = t.id WHERE t.payment_id IS NULL
    ), given AS (
        SELECT t.payment_id, s.phase, sum(coalesce(s.final_minor, s.amount_minor)) AS minor
        FROM transactions t JOIN steps s ON s.transaction_id = t.id
        WHERE t.payment_id IS NOT NULL AND t.state = 'PAID' AND s.amount_minor IS NOT NULL
        GROUP BY t.payment_id, s.phase
    )
    SELECT id || ' gave back ' || given.minor || ' of ' || paid.minor || ' at ' || paid.phase
    FROM given JOIN paid ON paid.id = given.payment_id AND paid.phase = given.phase
    WHERE given.minor > paid.minor
    UNION ALL
    SELECT id || ' says that ' || refunded_minor || ' of ' || minor || ' were given back'
    FROM paid WHERE role = 'gives' AND refunded_minor > minor
    """
)
OVERDUE = sa.text(
    "SELECT count(*) FROM transactions WHERE due_at <= now() - make_interval(secs => :late)"
    " AND held_by IS NULL AND (claimed_until IS NULL OR claimed_until <= now())"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How much was overdue at a moment, in seconds since the run began; None: nothing answered."""

    at_s: float
    overdue: int | None


class Readings(threading.Thread):
    """Reads until `close`. `kessai` and `ledgers` are database URLs, the latter by participant."""

    def __init__(
        self, kessai: str, ledgers: Mapping[str, str], stock: str, history: History
    ) -> None:
        super().__init__(name="readings", daemon=True)
        self._kessai = _engine(kessai)
        self._ledgers = {name: _engine(url) for name, url in ledgers.items()}
        self._stock = _engine(stock)
        self._history = history
        self._stopping = threading.Event()
        self._overdue: list[Reading] = []
        self._known: set[str] = set()
        self.books = 0
        """How often all books were read, and found in order or not."""

    @property
    def overdue(self) -> Sequence[Reading]:
        """Every look at what is overdue, oldest first."""
        return tuple(self._overdue)

    def close(self) -> None:
        """Reads no more; returns when the last reading is over."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Reads what is overdue often, and all books as often as their size permits."""
        books_at_s = 0.0
        while not self._stopping.wait(LOOK_S):
            try:
                self._look()
                began_s = self._history.elapsed_s()
                if began_s >= books_at_s:
                    self.read_books()
                    ended_s = self._history.elapsed_s()
                    books_at_s = ended_s + SHARE * (ended_s - began_s)
            except sa.exc.OperationalError:
                continue  # the database is down: that is one of the faults
            except Exception as error:  # noqa: BLE001 - a reader that dies would hide the rest
                self._history.missed(f"readings: {type(error).__name__}: {error}")

    def read_books(self) -> None:
        """Everything that must hold at any moment. Raises OperationalError."""
        for name, engine in self._ledgers.items():
            found = [*ledger_breaks(engine), *_told(engine, BELOW)]
            self._found(f"S1: {name}: {what}" for what in found)
        self._found(f"S1: stock: {what}" for what in stock_breaks(self._stock))
        self._found(f"S13: {what}" for what in _told(self._kessai, REFUNDS))
        self.books += 1

    def _found(self, problems: Iterable[str]) -> None:
        """Each problem is told once, with the moment at which it was first seen."""
        for problem in problems:
            if problem not in self._known:
                self._known.add(problem)
                self._history.missed(problem)

    def _look(self) -> None:
        at_s = self._history.elapsed_s()
        try:
            with self._kessai.connect() as connection:
                overdue = connection.execute(OVERDUE, {"late": OVERDUE_S}).scalar_one()
        except sa.exc.OperationalError:
            self._overdue.append(Reading(at_s, None))
            raise
        self._overdue.append(Reading(at_s, int(overdue)))


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url, poolclass=sa.NullPool)


def _told(engine: sa.Engine, query: sa.TextClause) -> list[str]:
    with engine.connect() as connection:
        return [str(what) for (what,) in connection.execute(query)]
