"""How PostgreSQL is reached: its URL and its engine."""

from __future__ import annotations

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
    except sa.exc.ArgumentError:
        raise ConfigurationError(
            "the database URL cannot be read; it looks like postgresql://user@host:5432/database"
        ) from None
    if parsed.drivername not in {"postgresql", "postgres", _DRIVER}:
        raise ConfigurationError(
            f"the database must be PostgreSQL (postgresql://…), not {parsed.drivername}"
        )
    return parsed.set(drivername=_DRIVER).render_as_string(hide_password=False)


def make_engine(
    url: str, *, pool_size: int, connect_timeout_s: int, statement_timeout_s: float
) -> sa.Engine:
    """An engine whose connections give up in time and whose errors quote no values."""
    engine = sa.create_engine(
        normalise_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=connect_timeout_s,
        hide_parameters=True,
        connect_args={
            "connect_timeout": connect_timeout_s,
            "application_name": "kessai",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )

    @sa.event.listens_for(engine, "connect")
    def settle_in(connection: DBAPIConnection, _record: object) -> None:
        # Not as start-up options: connection poolers refuse those.
        cursor = connection.cursor()
        cursor.execute(f"SET statement_timeout = {int(statement_timeout_s * 1000)}")
        cursor.execute(f"SET lock_timeout = {int(statement_timeout_s * 1000)}")
        cursor.close()
        connection.commit()

    return engine
