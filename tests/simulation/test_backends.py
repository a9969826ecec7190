"""The same seed gives the same trace on every backend (S20), and PostgreSQL's is the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from coordinator.domain.errors import ConfigurationError, StoreUnavailable
from fault_injection.backends import POSTGRES, SQLITE, Backend, opened
from fault_injection.databases import Postgres
from fault_injection.simulation.plan import Asked, plan_of
from fault_injection.simulation.run import play, play_twice
from fault_injection.virtual_time import EPOCH, VirtualClock, run

SEEDS = range(20)


@pytest.fixture(scope="module")
def server(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES])
def backend(request: pytest.FixtureRequest, server: str) -> Iterator[Backend]:
    with opened(request.param, server) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed_{seed}")
def test_the_same_seed_gives_the_same_trace_on_every_backend(seed: int, backend: Backend) -> None:
    finding = play_twice(plan_of(seed), backend).finding
    assert finding is None, "\n".join([finding.problem, *finding.story])


def test_another_trace_is_found_and_the_line_where_it_parts_is_told(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(2))
    monkeypatch.setattr(
        "fault_injection.simulation.run._heal",
        lambda world, _at_s: heal_after(world, next(numbers)),
    )

    async def heal_after(world: object, number: int) -> None:
        world.trace.add("world", f"is healed by {number}")  # type: ignore[attr-defined]
        world.heal()  # type: ignore[attr-defined]

    finding = play_twice(plan_of(0, Asked(payments=1, faults=(), crashes=0)), backend).finding
    assert finding is not None
    assert finding.problem.startswith("S20")
    assert [line[:2] for line in finding.story[-2:]] == ["- ", "+ "]
    assert "is healed by 0" in finding.story[-2]
    assert "is healed by 1" in finding.story[-1]


def test_a_server_keeps_nothing_of_a_simulation(server: str) -> None:
    engine = sa.create_engine(server)
    databases = sa.text("SELECT count(*) FROM pg_database WHERE datname LIKE 'kessai_simul%'")
    with opened(POSTGRES, server) as backend:
        play(plan_of(0, Asked(payments=1)), backend)
        with engine.connect() as connection:
            assert connection.execute(databases).scalar_one() >= 2
            before = connection.execute(databases).scalar_one()
    with engine.connect() as connection:
        assert connection.execute(databases).scalar_one() == before - 2
        assert sa.inspect(connection).get_table_names() == []
    engine.dispose()


def test_the_servers_clock_shows_virtual_time(server: str) -> None:
    async def scenario(backend: Backend) -> None:
        clock = VirtualClock()
        database = backend(clock)
        assert isinstance(database, Postgres)
        try:
            await clock.sleep(12.5)
            with database.connect() as connection:
                now = connection.execute(sa.select(database.clock.now())).scalar_one()
            assert (now - EPOCH).total_seconds() == 12.5
        finally:
            database.close()

    with opened(POSTGRES, server) as backend:
        run(scenario(backend))


def test_a_server_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    nowhere = f"postgresql://nobody@/nothing?host={tmp_path}"
    with pytest.raises(StoreUnavailable), opened(POSTGRES, nowhere):
        pytest.fail("it has started")


def test_only_backends_that_there_are_can_be_opened() -> None:
    with pytest.raises(ConfigurationError, match="no backend oracle"), opened("oracle"):
        pytest.fail("it has started")
