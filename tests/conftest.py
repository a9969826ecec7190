"""What several layers of tests share: a real PostgreSQL, owned by the session."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.embedded.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server for the whole session."""
    folder = Path(tempfile.mkdtemp(prefix="kessai-tests-", dir="/tmp"))
    try:
        with EmbeddedPostgres(folder / "postgres") as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count(1)


@pytest.fixture
def new_database(postgres: EmbeddedPostgres) -> Callable[[], str]:
    """Makes an empty database of its own and returns its URL."""
    return lambda: postgres.ensure_database(f"test_{next(_numbers)}")
