"""What a chaos run does to processes and links, in which order, and that it heals what it broke."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coordinator.cli.failures import Failure
from coordinator.cli.stack import PARTICIPANTS
from fault_injection.chaos import havoc
from fault_injection.chaos.havoc import Fault, Lane, Scene
from fault_injection.network.answers import HOSTILE, POLITE, Manners
from fault_injection.network.conditions import CLEAR, Condition, Traffic
from fault_injection.network.control import Network

FOREVER_S = 60.0


@dataclass
class Child:
    """A process that is not running, whatever is done to it."""

    name: str
    done: list[str]
    running: bool = False

    def kill(self) -> None:
        self.done.append(f"kill {self.name}")


class Broken:
    """Stands for the stack and its network; keeps what was done to them, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.plan = SimpleNamespace(coordinator_names=("coordinator",))
        self.children = {name: Child(name, self.done) for name in ("coordinator", *PARTICIPANTS)}
        self.links = {f"coordinator to {part}": "" for part in ("postgres", *PARTICIPANTS)}
        self.fronts = {"card": ""}
        self.failures = 0
        self._held = itertools.count()
        self.imposed = threading.Event()

    def restart(self, name: str) -> None:
        if self.failures:
            self.failures -= 1
            raise Failure(f"{name} ended by itself")
        self.done.append(f"start {name}")

    def crash_postgres(self) -> None:
        self.done.append("kill postgres")

    def restart_postgres(self) -> None:
        self.done.append("start postgres")

    def crash_nats(self) -> None:
        self.done.append("kill nats")

    def restart_nats(self) -> None:
        self.done.append("start nats")

    def impose(self, link: str, condition: Condition) -> None:
        assert link in self.links
        self.done.append("heal" if condition == CLEAR else "impose")
        self.imposed.set()

    def behave(self, participant: str, manners: Manners) -> None:
        assert participant in self.fronts
        assert manners == POLITE or set(manners.fates) <= set(HOSTILE)
        self.done.append("be polite" if manners == POLITE else "be hostile")
        self.imposed.set()

    def traffic(self) -> Mapping[str, Traffic]:
        return dict.fromkeys(self.links, Traffic(held=next(self._held) // 3))


def lane(broken: Broken, *faults: Fault, lasting_s: float = 0.0) -> Lane:
    scene = Scene(cast("Any", broken), cast("Network", broken), lambda: 1.5)
    return Lane(
        scene,
        faults,
        [0.0] * len(faults),
        "7",
        between_s=(0.0, 0.0),
        freeze_s=0.0,
        lasting_s=(lasting_s, lasting_s),
        say=lambda _line: None,
    )


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    monkeypatch.setattr(havoc, "RESTART_S", 0.0)
    monkeypatch.setattr(havoc, "LOOK_S", 0.001)
    return Broken()


@pytest.mark.parametrize(
    ("fault", "done"),
    [
        (Fault.KILL_COORDINATOR, ["kill coordinator", "start coordinator"]),
        (Fault.KILL_POSTGRES, ["kill postgres", "start postgres"]),
        (Fault.KILL_BROKER, ["kill nats", "start nats"]),
        (Fault.KILL_AT_A_POINT, ["impose", "kill coordinator", "heal", "start coordinator"]),
        (Fault.NETWORK, ["impose", "heal"]),
        (Fault.HOSTILE, ["be hostile", "be polite"]),
    ],
)
def test_each_fault_is_done_and_undone(fault: Fault, done: list[str], broken: Broken) -> None:
    one = lane(broken, fault)
    one.run()
    assert one.error is None
    assert broken.done == done
    (strike,) = one.done
    assert strike.kind.startswith(fault.value)
    assert (strike.began_s, strike.ended_s) == (1.5, 1.5)


def test_a_kill_at_a_point_waits_until_something_is_held_there(broken: Broken) -> None:
    asked = itertools.count()
    traffic = broken.traffic

    def counted() -> Mapping[str, Traffic]:
        next(asked)
        return traffic()

    broken.traffic = counted  # type: ignore[method-assign] # a stand-in for one test
    lane(broken, Fault.KILL_AT_A_POINT).run()
    assert next(asked) == 4  # once before, and until the third look after


def test_a_process_that_does_not_come_up_is_started_again(broken: Broken) -> None:
    broken.failures = 2
    one = lane(broken, Fault.KILL_COORDINATOR)
    one.run()
    assert one.error is None
    assert broken.done == ["kill coordinator", "start coordinator"]


def test_a_process_that_never_comes_up_ends_the_lane_and_is_told(broken: Broken) -> None:
    broken.failures = 1000
    one = lane(broken, Fault.KILL_COORDINATOR, Fault.KILL_COORDINATOR)
    one.run()
    assert isinstance(one.error, Failure)
    assert one.done == []


@pytest.mark.parametrize(
    ("fault", "done"),
    [(Fault.NETWORK, ["impose", "heal"]), (Fault.HOSTILE, ["be hostile", "be polite"])],
)
def test_a_lane_that_is_stopped_heals_what_it_was_doing_and_does_no_more(
    fault: Fault, done: list[str], broken: Broken
) -> None:
    one = lane(broken, fault, fault, lasting_s=FOREVER_S)
    one.start()
    assert broken.imposed.wait(5)
    one.stop()
    assert not one.is_alive()
    assert broken.done == done
    assert one.error is None


def test_the_same_seed_does_the_same_to_the_same(broken: Broken) -> None:
    def done() -> list[tuple[str, str]]:
        one = lane(broken, *[Fault.NETWORK] * 20)
        one.run()
        return [(strike.kind, strike.where) for strike in one.done]

    assert done() == done()
    assert len(set(done())) > 10
