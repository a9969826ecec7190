"""Makes one group of writes durable in one database transaction, and says what became of each.

Runs in the store's writer thread and knows no event loop. Its rules (docs/decisions/0003):

- a lost version or a taken key fails only its own write;
- a data error undoes the transaction, and the group is repeated one by one: only the culprit fails;
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
        trouble, repeated = self._attempt(group, results, repeated=False)
        for write in group:
            if write.token in results or trouble is None:
                continue
            found: Trouble | None = trouble
            if trouble.kind is Kind.DATA and len(group) > 1:
                found, _ = self._attempt([write], results, repeated=repeated)
            if found is not None:
                results[write.token] = found.as_error()
        return [results[write.token] for write in group]

    def _attempt(
        self, group: Sequence[Write], results: dict[str, Result], *, repeated: bool
    ) -> tuple[Trouble | None, bool]:
        """Fills in what is certain; the trouble goes with whatever is left out.

        `repeated`, given and returned: some COMMIT of these writes has an unknown end.
        """
        # One order for everybody: two groups wait for each other's rows but do not deadlock.
        left: Sequence[Write] = sorted(group, key=lambda write: write.after.id)
        trouble: Trouble | None = None
        for _ in range(ATTEMPTS):
            committing = False
            try:
                with self._connect() as connection:
                    self._faults("before_write")
                    with connection.begin():
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
        # Updates first: one of them may free the order that an insert wants.
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
