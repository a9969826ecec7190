"""What several layers of tests share: a real PostgreSQL, owned by the session."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from adapters.embedded.postgres import EmbeddedPostgres

settings.register_profile("release")
"""`--hypothesis-profile release`: tests that have a size of their own for a release take that."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server for the whole session."""
    folder = Path(tempfile.mkdtemp(prefix="kessai-tests-", dir="/tmp"))
    try:
        with EmbeddedPostgres(folder / "postgres") as server:
            _without_waiting_for_the_disk(server)
            yield server
            server.crash()  # a proper end would write hundreds of databases that nobody reads again
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _without_waiting_for_the_disk(server: EmbeddedPostgres) -> None:
    """Nothing here ends the machine; what ends a process is safe without."""
    engine = sa.create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    engine.dispose()


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def new_database(postgres: EmbeddedPostgres) -> Callable[[], str]:
    """Makes an empty database of its own and returns its URL.

    Fixtures of a module have to take one as well: on several cores a worker may come back to a
    module, and would find the rows of its first time.
    """
    return lambda: postgres.ensure_database(f"test_{next(_numbers)}")
