"""The stores that the Store port's conformance suite runs over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.faulty import FaultyStores
from tests.support.stores import PostgresStores, SqliteStores, Stores


@pytest.fixture(params=["postgres", "sqlite in memory", "sqlite in a file", "no faults"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """Stores on one empty database."""
    made: Stores
    if request.param == "postgres":
        new_database: Callable[[], str] = request.getfixturevalue("new_database")
        made = PostgresStores(new_database())
    else:
        made = SqliteStores(tmp_path / "kessai.db" if "file" in request.param else None)
        if request.param == "no faults":
            made = FaultyStores(made)
    yield made
    made.close()
