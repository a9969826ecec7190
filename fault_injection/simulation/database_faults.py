"""What a database may say instead of doing its work, as data: by class of error.

The errors are those of the driver, so that the store's own classification of them
(`adapters.postgres.trouble`) decides what becomes of a write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg2
import sqlalchemy as sa
from psycopg2 import errors

from adapters.postgres.trouble import ConnectionLost, TransientConflict

READ, BEFORE_WRITE, BEFORE_COMMIT, AFTER_COMMIT = (
    "read",
    "before_write",
    "before_commit",
    "after_commit",
)
"""Where a unit of work can be; writes name theirs themselves (`group_writer`)."""


@dataclass(frozen=True, slots=True)
class DatabaseFault:
    """One kind. `errors` makes one of these at one of `points`; `row` says how many in a row."""

    what: str
    points: tuple[str, ...]
    errors: tuple[Callable[[], Exception], ...]
    row: int = 1


def _driver(kind: type[psycopg2.Error], sqlstate: str) -> Callable[[], Exception]:
    """What SQLAlchemy makes of such an error of the driver."""
    injected = type(kind.__name__, (kind,), {"pgcode": sqlstate})

    def error() -> Exception:
        made = sa.exc.DBAPIError.instance(
            None, None, injected("injected"), psycopg2.Error, hide_parameters=True
        )
        assert isinstance(made, sa.exc.DBAPIError), "it is the driver's"
        return made

    return error


def _pool_is_empty() -> Exception:
    return sa.exc.TimeoutError("injected")


DATABASE_FAULTS: Mapping[str, DatabaseFault] = {
    "commit-failed": DatabaseFault(
        "a connection is lost, or a conflict found, before COMMIT",
        (BEFORE_COMMIT,),
        (ConnectionLost, TransientConflict),
    ),
    "commit-unheard": DatabaseFault(
        "a connection is lost after COMMIT, before its answer", (AFTER_COMMIT,), (ConnectionLost,)
    ),
    "serialization-failure": DatabaseFault(
        "the database cannot serialize a group of commits (40001), some times in a row",
        (BEFORE_COMMIT,),
        (_driver(errors.SerializationFailure, "40001"),),
        row=4,
    ),
    "deadlock": DatabaseFault(
        "the database ends a deadlock at our cost (40P01), some times in a row",
        (BEFORE_COMMIT,),
        (_driver(errors.DeadlockDetected, "40P01"),),
        row=4,
    ),
    "lock-timeout": DatabaseFault(
        "a row stays locked for too long (55P03)",
        (BEFORE_COMMIT,),
        (_driver(errors.LockNotAvailable, "55P03"),),
        row=3,
    ),
    "disk-full": DatabaseFault(
        "the database's disk is full for some commits (53100)",
        (BEFORE_COMMIT,),
        (_driver(errors.DiskFull, "53100"),),
        row=6,
    ),
    "pool-empty": DatabaseFault(
        "no connection is free, for reads and writes", (READ, BEFORE_WRITE), (_pool_is_empty,), 3
    ),
}
"""Every kind by its name."""


def kind_of(point: str, error: Exception) -> str:
    """The kind that made this error at this point; empty if none did."""
    for name, fault in DATABASE_FAULTS.items():
        if point in fault.points and any(_alike(make(), error) for make in fault.errors):
            return name
    return ""


def _alike(made: Exception, error: Exception) -> bool:
    origins = [type(getattr(each, "orig", None)) for each in (made, error)]
    return type(made) is type(error) and origins[0] is origins[1]
