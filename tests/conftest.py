"""What several layers of tests share: a real PostgreSQL, owned by the session; fault coverage."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import Phase, settings

from adapters.embedded.postgres import EmbeddedPostgres
from fault_injection.coverage.ledger import Ledger


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-coverage",
        type=Path,
        metavar="FOLDER",
        help="write there which faults were seen where, a file for each worker",
    )


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """What the campaigns of this worker have seen."""
    found = Ledger()
    yield found
    folder: Path | None = request.config.getoption("--fault-coverage")
    if folder is not None:
        worker = getattr(request.config, "workerinput", {"workerid": "alone"})["workerid"]
        folder.mkdir(parents=True, exist_ok=True)
        found.write(folder / f"{worker}.json")


settings.register_profile("release")
"""`--hypothesis-profile release`: tests that have a size of their own for a release take that."""
settings.register_profile("tenth")
"""The same, a tenth of it."""
settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    max_examples=50,
    phases=[Phase.explicit, Phase.generate],
)
"""For `make mutants`: whether a mutant lives is no matter of luck, and how little it takes to find
it is not asked: making an example smaller takes longer than everything else."""


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
