"""What an error of the database means: by SQLSTATE, by error class, by constraint name.

No message made here repeats a value: the database's own messages quote whole rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

import sqlalchemy as sa

from coordinator.domain.errors import Bug, KessaiError, StoreUnavailable


class Kind(Enum):
    """What to do about it."""

    TRANSIENT = auto()
    """The database asks to repeat the whole transaction; nothing was written."""
    LOST = auto()
    """The connection is gone. If COMMIT was under way, whether it happened is unknown."""
    LOCKED = auto()
    """A row is locked by somebody else; nothing was written."""
    SLOW = auto()
    """The statement took too long; nothing was written."""
    UNAVAILABLE = auto()
    """The database says no for now; nothing was written."""
    DATA = auto()
    """One of the values is at fault; nothing was written."""
    BROKEN = auto()
    """The statement itself is at fault (a missing table, a missing right); nothing was written."""


class TransientConflict(Exception):
    """A serialization failure or deadlock, for tests and the simulator to inject."""


class ConnectionLost(Exception):
    """A lost connection, for tests and the simulator to inject."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A diagnosis. `detail` names the error class, SQLSTATE and constraint, and no value."""

    kind: Kind
    detail: str

    def as_error(self) -> KessaiError:
        """What the caller of the store gets to see."""
        if self.kind in {Kind.DATA, Kind.BROKEN}:
            return Bug(f"the database refused: {self.detail}")
        return StoreUnavailable(self.detail)


_TRANSIENT = frozenset({"40001", "40P01"})
_WAITED = {"55P03": Kind.LOCKED, "57014": Kind.SLOW}
_UNKNOWN_COMPLETION = frozenset({"40003", "08007"})
_SQLITE_NAME = re.compile(r"(?:CHECK|UNIQUE) constraint failed: (.+)$", re.MULTILINE)


def diagnose(error: Exception, *, committing: bool = False) -> Trouble:
    """The meaning of anything that a unit of work raised, or its COMMIT when `committing`."""
    if isinstance(error, TransientConflict):
        return Trouble(Kind.TRANSIENT, type(error).__name__)
    if isinstance(error, ConnectionLost):
        return Trouble(Kind.LOST, type(error).__name__)
    if isinstance(error, sa.exc.TimeoutError):
        return Trouble(Kind.UNAVAILABLE, "every connection of the pool is in use")
    if not isinstance(error, sa.exc.DBAPIError):
        return Trouble(Kind.DATA, type(error).__name__)
    sqlstate = getattr(error.orig, "pgcode", None) or ""
    kind = _kind(error, sqlstate)
    if committing and kind is Kind.UNAVAILABLE and hasattr(error.orig, "pgcode") and not sqlstate:
        kind = Kind.LOST  # the server did not say that it rolled back
    return Trouble(kind, _detail(error, sqlstate))


def _kind(error: sa.exc.DBAPIError, sqlstate: str) -> Kind:
    if error.connection_invalidated or sqlstate in _UNKNOWN_COMPLETION:
        return Kind.LOST
    if sqlstate in _TRANSIENT:
        return Kind.TRANSIENT
    if sqlstate in _WAITED:
        return _WAITED[sqlstate]
    if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError):
        return Kind.DATA
    if isinstance(error, sa.exc.InterfaceError):
        # psycopg2: the connection is closed; sqlite3: a value cannot be bound
        return Kind.LOST if hasattr(error.orig, "pgcode") else Kind.DATA
    if isinstance(error, sa.exc.OperationalError):
        return Kind.UNAVAILABLE
    return Kind.BROKEN


def _detail(error: sa.exc.DBAPIError, sqlstate: str) -> str:
    parts = [type(error.orig).__name__]
    if sqlstate:
        parts.append(f"SQLSTATE {sqlstate}")
    if name := constraint_name(error):
        parts.append(f"constraint {name}")
    parts += getattr(error.orig, "__notes__", ())  # of `connection`: what could not be reached
    return ", ".join(parts)


def constraint_name(error: sa.exc.DBAPIError) -> str:
    """The violated constraint (on SQLite a UNIQUE one has only its columns), or empty."""
    diagnostics = getattr(error.orig, "diag", None)
    if diagnostics is not None:
        return str(diagnostics.constraint_name or "")
    found = _SQLITE_NAME.search(str(error.orig))
    return found.group(1) if found else ""
