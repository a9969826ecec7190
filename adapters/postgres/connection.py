"""How PostgreSQL is reached: its URL and its engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg2
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection

from coordinator.domain.errors import ConfigurationError

_DRIVER = "postgresql+psycopg2"


def normalise_url(url: str) -> str:
    """The URL with its driver: `postgresql://` and `postgres://` become `postgresql+psycopg2://`.

    SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3. Raises ConfigurationError for
    anything that is not a PostgreSQL URL; the message repeats no password.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # a port that is not a number
        raise ConfigurationError(
            "the database URL cannot be read; it looks like postgresql://user@host:5432/database"
        ) from None
    if parsed.drivername not in {"postgresql", "postgres", _DRIVER}:
        raise ConfigurationError(
            f"the database must be PostgreSQL (postgresql://…), not {parsed.drivername}"
        )
    return parsed.set(drivername=_DRIVER).render_as_string(hide_password=False)


def make_engine(
    url: str,
    *,
    pool_size: int,
    connect_timeout_s: int,
    statement_timeout_s: float,
    lock_timeout_s: float | None = None,
    watch: Callable[[Any], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> sa.Engine:
    """An engine whose connections give up in time and whose errors quote no values.

    statement_timeout_s  also how long a transaction may stay idle: its row locks stop others
    lock_timeout_s       as long as a statement, when not given
    watch                a context for what a new connection is asked first
    """
    waits = {
        "statement_timeout": statement_timeout_s,
        "lock_timeout": statement_timeout_s if lock_timeout_s is None else lock_timeout_s,
        "idle_in_transaction_session_timeout": statement_timeout_s,
    }
    engine = sa.create_engine(
        normalise_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=connect_timeout_s,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": connect_timeout_s,
            "application_name": "kessai",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 25_000,
        },
    )

    @sa.event.listens_for(engine, "do_connect")
    def reach(
        dialect: sa.Dialect, _record: object, args: list[Any], parameters: dict[str, Any]
    ) -> DBAPIConnection:
        try:
            return dialect.connect(*args, **parameters)
        except psycopg2.OperationalError as error:
            error.add_note(_unreached(error, parameters))
            raise

    @sa.event.listens_for(engine, "connect")
    def settle_in(connection: DBAPIConnection, _record: object) -> None:
        # Not as start-up options: connection poolers refuse those.
        with watch(connection):
            cursor = connection.cursor()
            for name, seconds in waits.items():
                cursor.execute(f"SET {name} = {int(seconds * 1000)}")
            cursor.close()
            connection.commit()

    return engine


def _unreached(error: psycopg2.OperationalError, parameters: dict[str, Any]) -> str:
    """Why and where, without the password: for the operator's logs."""
    reason = (str(error).splitlines() or [""])[0]
    if password := str(parameters.get("password") or ""):
        reason = reason.replace(password, "***")
    host, database = parameters.get("host") or "of the system", parameters.get("dbname") or ""
    return f"{reason} (host {host}, database {database})"
