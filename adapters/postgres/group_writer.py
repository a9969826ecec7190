"""Makes one group of writes durable in one database transaction, and says what became of each.

Runs in the store's writer thread and knows no event loop. Its rules (docs/decisions/0003):

- a lost version or a taken key fails only its own write;
- a data error undoes the transaction, and the group is repeated in halves: only the culprit fails;
- a row that somebody else keeps locked does so too, and the halves hardly wait for locks any more;
- a serialization failure or deadlock repeats the whole transaction, a bounded number of times;
- a connection lost before COMMIT wrote nothing: the group is repeated on a new connection;
- a connection lost at COMMIT is unknown. The group is repeated too: a write that had been committed
  loses its compare-and-set against itself, and re-reading version and token tells that. Should the
  old COMMIT still be under way, the repeat waits for its row locks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

import sqlalchemy as sa

from adapters.postgres.fields import Write
from adapters.postgres.losers import committed, explain_inserts, explain_updates
from adapters.postgres.trouble import Kind, Trouble, diagnose
from coordinator.domain.errors import KessaiError
from coordinator.ports import CommitResult

ATTEMPTS = 5
"""How often a group is tried before its writes are told that the database is unavailable."""

PATIENCE = 90
"""How often a group's parts may wait for locks: enough to find about ten locked rows in 256."""

_COST = {Kind.DATA: 0, Kind.LOCKED: 1, Kind.SLOW: 10}
"""What is repeated in halves, and what it takes of the patience."""

Result: TypeAlias = CommitResult | KessaiError
Connect: TypeAlias = Callable[[], AbstractContextManager[sa.Connection]]
FaultPoint: TypeAlias = Callable[[str], None]


def no_faults(point: str) -> None:
    """What happens at every fault point in production."""


class WriteStatements(Protocol):
    """How one SQL dialect writes a group. Both return the IDs of the transactions that won."""

    def insert(self, connection: sa.Connection, writes: Sequence[Write]) -> set[str]:
        """Creates transactions, unless their ID, key or order is taken."""

    def update(self, connection: sa.Connection, writes: Sequence[Write]) -> set[str]:
        """Moves transactions whose version is still the expected one."""

    def hurry(self, connection: sa.Connection) -> None:
        """Makes the current transaction wait for hardly anything."""


class GroupWriter:
    """Commits groups. `faults` is called with the name of each fault point, for tests."""

    def __init__(
        self, connect: Connect, statements: WriteStatements, faults: FaultPoint = no_faults
    ) -> None:
        self._connect = connect
        self._statements = statements
        self._faults = faults

    def write(self, group: Sequence[Write]) -> list[Result]:
        """One result for each write, in order. Never raises."""
        results: dict[str, Result] = {}
        # One order for everybody: two groups wait for each other's rows but do not deadlock.
        # Updates first: one of them may free the order that an insert wants.
        parts = [(sorted(group, key=lambda write: (write.creates, write.after.id)), False)]
        patience, hurried = PATIENCE, False
        while parts:
            part, repeated = parts.pop()
            trouble, repeated = self._attempt(part, results, repeated=repeated, hurried=hurried)
            left = [write for write in part if write.token not in results]
            if trouble is None or not left:
                continue
            patience -= _COST.get(trouble.kind, 0)
            hurried = hurried or trouble.kind in {Kind.LOCKED, Kind.SLOW}
            if trouble.kind in _COST and len(left) > 1 and patience > 0:
                half = len(left) // 2
                parts += [(left[half:], repeated), (left[:half], repeated)]
            else:
                results.update({write.token: trouble.as_error() for write in left})
        return [results[write.token] for write in group]

    def _attempt(
        self, group: Sequence[Write], results: dict[str, Result], *, repeated: bool, hurried: bool
    ) -> tuple[Trouble | None, bool]:
        """Fills in what is certain; the trouble goes with whatever is left out.

        `repeated`, given and returned: some COMMIT of these writes has an unknown end.
        `hurried`: a lock or a slow statement has cost time already.
        """
        left = group
        trouble: Trouble | None = None
        for _ in range(ATTEMPTS):
            committing = False
            try:
                with self._connect() as connection:
                    self._faults("before_write")
                    with connection.begin():
                        if hurried:
                            self._statements.hurry(connection)
                        found = self._write(connection, left, repeated=repeated)
                        self._faults("before_commit")
                        committing = True
                self._faults("after_commit")
            except Exception as error:  # noqa: BLE001 - whatever it is, the writer lives on
                trouble = diagnose(error, committing=committing)
                if trouble.kind not in {Kind.LOST, Kind.TRANSIENT}:
                    return trouble, repeated
                repeated = repeated or (committing and trouble.kind is Kind.LOST)
                continue
            results.update(found)
            left = [write for write in left if write.token not in found]
            if not left:
                return None, repeated
            trouble = Trouble(Kind.UNAVAILABLE, "the order kept changing hands")
        return trouble, repeated

    def _write(
        self, connection: sa.Connection, group: Sequence[Write], *, repeated: bool
    ) -> dict[str, CommitResult]:
        results: dict[str, CommitResult] = {}
        for writes, emit, explain in (
            ([w for w in group if not w.creates], self._statements.update, explain_updates),
            ([w for w in group if w.creates], self._statements.insert, explain_inserts),
        ):
            if not writes:
                continue
            won = emit(connection, writes)
            results.update({w.token: committed(w) for w in writes if w.after.id in won})
            losers = [write for write in writes if write.after.id not in won]
            if losers:
                results.update(explain(connection, losers, repeated=repeated))
        return results
