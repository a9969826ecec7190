"""Brings a database to this version's schema. Needs no file outside this package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from adapters.postgres.connection import make_engine
from adapters.postgres.trouble import diagnose

_CONNECT_TIMEOUT_S = 5
_STATEMENT_TIMEOUT_S = 3600.0


def migrate(url: str, revision: str = "head") -> str:
    """Migrates up to `revision`, in one database transaction; returns the newest one there is.

    Raises StoreUnavailable, or ConfigurationError for a URL that is not one of PostgreSQL.
    """
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except sa.exc.DBAPIError as error:
        raise diagnose(error).as_error() from None
    finally:
        engine.dispose()
    return head_revision()


def current_revision(url: str) -> str | None:
    """The database's revision; None when it was never migrated. Raises as `migrate`."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            return revision_of(connection)
    except sa.exc.DBAPIError as error:
        raise diagnose(error).as_error() from None
    finally:
        engine.dispose()


def revision_of(connection: sa.Connection) -> str | None:
    """The revision of the database behind `connection`; None when it was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def head_revision() -> str:
    """The revision that this version of the program needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None, "there is at least one migration"
    return head


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config


def _engine(url: str) -> sa.Engine:
    return make_engine(
        url,
        pool_size=1,
        connect_timeout_s=_CONNECT_TIMEOUT_S,
        statement_timeout_s=_STATEMENT_TIMEOUT_S,
    )
