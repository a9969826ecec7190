"""What the parent of several workers does when something happens; the workers here are fakes."""

from __future__ import annotations

import base64
import signal
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from coordinator.cli import workers
from coordinator.cli.child import Ended, Ready
from coordinator.cli.workers import Asked, WorkerEvent, Workers, backoff_s
from coordinator.config import load
from coordinator.domain.errors import ConfigurationError

GOOD: dict[str, Any] = {
    "database_url": "postgresql://nobody@127.0.0.1:1/none",
    "participants": {"points": "127.0.0.1:1"},
    "callers": {"shop": "0" * 64},
    "seal_keys": (base64.b64encode(b"k" * 32).decode(),),
}
ADDRESS = "127.0.0.1:7300"


class FakeChild:
    """Does at once what a test says: `lives` has an entry for each start."""

    def __init__(
        self, name: str, events: SimpleQueue[WorkerEvent], lives: list[Callable[[FakeChild], None]]
    ) -> None:
        self.name = name
        self.events = events
        self.lives = lives
        self.done: list[str] = []

    def start(self) -> None:
        self.done.append("start")
        self.lives[min(self.done.count("start"), len(self.lives)) - 1](self)

    def ask_to_stop(self) -> None:
        self.done.append("stop")

    def kill(self) -> None:
        self.done.append("kill")

    def ready(self) -> None:
        self.events.put(Ready(self.name, 1, ADDRESS))

    def ended(self, status: int) -> None:
        self.events.put(Ended(self.name, 1, status, expected=False))


class Obedient(FakeChild):
    """Ends when it is asked to."""

    def ask_to_stop(self) -> None:
        super().ask_to_stop()
        self.ended(0)


class Stubborn(FakeChild):
    """Ends only when it is killed."""

    def kill(self) -> None:
        super().kill()
        self.ended(-signal.SIGKILL)


def serves(child: FakeChild) -> None:
    child.ready()


def stops_everything(child: FakeChild) -> None:
    child.ready()
    child.events.put(Asked(signal.SIGTERM))


def dies(status: int) -> Callable[[FakeChild], None]:
    return lambda child: child.ended(status)


def serves_then_dies(child: FakeChild) -> None:
    child.ready()
    child.ended(-signal.SIGKILL)


@pytest.fixture
def events() -> SimpleQueue[WorkerEvent]:
    return SimpleQueue()


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BACKOFF_S", 0.001)


def run(
    events: SimpleQueue[WorkerEvent], children: list[FakeChild], limit_s: float = 60.0
) -> tuple[int, list[str]]:
    told: list[str] = []
    return Workers(children, events, limit_s).run(told.append), told


def test_the_address_is_told_once_when_all_serve(events: SimpleQueue[WorkerEvent]) -> None:
    children: list[FakeChild] = [
        Obedient("0", events, [serves]),
        Obedient("1", events, [serves]),
        Obedient("2", events, [stops_everything]),
    ]
    assert run(events, children) == (0, [ADDRESS])
    assert [child.done for child in children] == [["start", "stop"]] * 3


def test_what_is_wrong_for_all_is_told_by_the_first_alone(
    events: SimpleQueue[WorkerEvent],
) -> None:
    children: list[FakeChild] = [Obedient("0", events, [dies(2)]), Obedient("1", events, [serves])]
    assert run(events, children) == (2, [])
    assert children[1].done == ["stop"]


def test_a_later_worker_that_cannot_start_ends_all_with_its_status(
    events: SimpleQueue[WorkerEvent],
) -> None:
    children: list[FakeChild] = [Obedient("0", events, [serves]), Obedient("1", events, [dies(3)])]
    assert run(events, children) == (3, [])
    assert children[0].done == ["start", "stop"]


def test_a_worker_that_dies_by_a_signal_before_it_serves_is_a_failure(
    events: SimpleQueue[WorkerEvent],
) -> None:
    assert run(events, [Obedient("0", events, [dies(-signal.SIGSEGV)])])[0] == 1


def test_a_worker_that_dies_is_started_again_until_it_serves(
    events: SimpleQueue[WorkerEvent],
) -> None:
    lives = [serves_then_dies, dies(3), dies(3), stops_everything]
    children: list[FakeChild] = [Obedient("0", events, [serves]), Obedient("1", events, lives)]
    assert run(events, children) == (0, [ADDRESS])
    assert children[1].done == ["start"] * 4 + ["stop"]


def test_a_second_signal_kills(events: SimpleQueue[WorkerEvent]) -> None:
    def asks_twice(child: FakeChild) -> None:
        stops_everything(child)
        child.events.put(Asked(signal.SIGINT))

    child = Stubborn("0", events, [asks_twice])
    assert run(events, [child])[0] == 128 + signal.SIGINT
    assert child.done == ["start", "stop", "kill"]


def test_a_worker_that_does_not_end_in_time_is_killed(events: SimpleQueue[WorkerEvent]) -> None:
    child = Stubborn("0", events, [stops_everything])
    assert run(events, [child], limit_s=0.01)[0] == 0
    assert child.done == ["start", "stop", "kill"]


def test_a_worker_that_fails_while_it_stops_is_told(events: SimpleQueue[WorkerEvent]) -> None:
    class Failing(FakeChild):
        def ask_to_stop(self) -> None:
            self.ended(1)

    assert run(events, [Failing("0", events, [stops_everything])])[0] == 1


def test_the_wait_before_a_restart_doubles_up_to_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [backoff_s(deaths) for deaths in (1, 2, 3, 7, 8, 5000)] == [0.5, 1, 2, 30, 30, 30]


def test_every_worker_has_a_port_of_its_own_for_metrics() -> None:
    settings = load(**GOOD, workers=3, metrics_listen="127.0.0.1:9300")
    environments = [workers.environment_of(settings, ADDRESS, number) for number in range(3)]
    assert [each["KESSAI_METRICS_LISTEN"] for each in environments] == [
        f"127.0.0.1:{port}" for port in (9300, 9301, 9302)
    ]
    assert [each["KESSAI_WORKER"] for each in environments] == ["0", "1", "2"]
    assert {each["KESSAI_LISTEN"] for each in environments} == {ADDRESS}
    any_port = load(**GOOD, workers=2, metrics_listen="127.0.0.1:0")
    assert workers.environment_of(any_port, ADDRESS, 1)["KESSAI_METRICS_LISTEN"] == "127.0.0.1:0"
    assert not workers.environment_of(load(**GOOD), ADDRESS, 1)["KESSAI_METRICS_LISTEN"]


def test_more_workers_than_ports_are_refused() -> None:
    settings = load(**GOOD, workers=2, metrics_listen="127.0.0.1:65535")
    with pytest.raises(ConfigurationError, match="KESSAI_METRICS_LISTEN: 2 workers"):
        workers.environment_of(settings, ADDRESS, 1)


def test_only_the_first_worker_serves_operators() -> None:
    settings = load(**GOOD, workers=3, admin_listen="127.0.0.1:7301", operators={"alice": "a" * 64})
    environments = [workers.environment_of(settings, ADDRESS, number) for number in range(3)]
    assert [each["KESSAI_ADMIN_LISTEN"] for each in environments] == ["127.0.0.1:7301", "", ""]
