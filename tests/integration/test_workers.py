"""`kessai serve --workers N` as real processes over a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from adapters.postgres.migrate import migrate
from coordinator import config
from coordinator.cli.ports import refuse_taken
from coordinator.cli.ready import announced
from tests.support.service import settings

LIMIT_S = 60.0


class Serving:
    """A `kessai serve` in a session of its own; its log is in a file."""

    def __init__(self, log: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "coordinator.cli", "serve", *arguments],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                text=True,
            )

    def address(self) -> str:
        """What it announces."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        address = announced(line)
        assert address is not None, self.log.read_text()
        return address

    def workers(self) -> set[int]:
        """The processes that it started and that have not ended."""
        shown = subprocess.run(
            ["ps", "-o", "pid=,stat=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        rows = [line.split() for line in shown.stdout.splitlines()]
        return {int(pid) for pid, stat in rows if not stat.startswith("Z")}

    def end(self) -> int:
        """Its exit status."""
        return self.process.wait(LIMIT_S)

    def logged(self, event: str) -> list[dict[str, object]]:
        """Its log lines of this event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == event]


@pytest.fixture
def environment(new_database: Callable[[], str]) -> dict[str, str]:
    url = new_database()
    migrate(url)
    return config.child_environment(**config.as_environment(settings(url, drain_s=5.0)))


@pytest.fixture
def serve(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Serving]]:
    """Starts `kessai serve`; whatever a failed test left running is stopped by its ID."""
    started: list[Serving] = []

    def start(*arguments: str, **changes: str) -> Serving:
        log = tmp_path / f"{len(started)}.log"
        started.append(Serving(log, environment | changes, *arguments))
        return started[-1]

    yield start
    for one in started:
        for pid in (one.process.pid, *one.workers()) if one.process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        one.process.wait(LIMIT_S)
        for pipe in (one.process.stdin, one.process.stdout):
            assert pipe is not None
            pipe.close()


def until(holds: Callable[[], bool], what: str) -> None:
    """Returns once it holds; looks again and again."""
    for _ in range(round(LIMIT_S / 0.05)):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(f"still not: {what}")


def healthy(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_workers_share_a_port_and_one_that_is_killed_is_started_again(
    serve: Callable[..., Serving],
) -> None:
    serving = serve("--workers", "2", "--log-level", "debug")
    address = serving.address()
    first = serving.workers()
    assert len(first) == 2
    assert healthy(address)

    os.kill(min(first), signal.SIGKILL)
    until(lambda: len(serving.workers() - first) == 1, "another worker in its place")
    until(lambda: len(serving.workers()) == 2, "two workers again")
    assert healthy(address)
    [told] = serving.logged("worker ended by itself")
    assert told["reason"] == "signal 9"
    assert told["worker"] in {0, 1}

    serving.process.send_signal(signal.SIGTERM)
    assert serving.end() == 0, serving.log.read_text()
    assert serving.process.stdout is not None
    assert serving.process.stdout.read() == "", "the address is told once"
    assert not serving.workers()
    refuse_taken(address, "--listen")


def test_when_the_parent_is_killed_its_workers_end(serve: Callable[..., Serving]) -> None:
    serving = serve("--workers", "2")
    serving.address()
    workers = serving.workers()
    serving.process.kill()
    serving.end()
    until(lambda: not any(map(alive, workers)), "no worker")


def test_when_the_lifeline_ends_the_parent_and_its_workers_end(
    serve: Callable[..., Serving],
) -> None:
    serving = serve("--workers", "2", "--lifeline")
    serving.address()
    workers = serving.workers()
    assert serving.process.stdin is not None
    serving.process.stdin.close()
    assert serving.end() == 0, serving.log.read_text()
    assert not any(map(alive, workers))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_somebody_else_uses_is_refused(
    serve: Callable[..., Serving], workers: str
) -> None:
    first = serve("--workers", "2")
    second = serve("--workers", workers, KESSAI_LISTEN=first.address())
    assert second.end() == 1
    assert "is in use" in second.log.read_text()


def test_workers_that_cannot_start_end_their_parent_with_one_message(
    serve: Callable[..., Serving],
) -> None:
    away = serve("--workers", "3", KESSAI_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert away.end() == 3
    assert away.log.read_text().count("STORE_UNAVAILABLE") == 1
    wrong = serve("--workers", "3", KESSAI_FLOWS='["barter"]')
    assert wrong.end() == 2
    assert wrong.log.read_text().count("unknown barter") == 1


def test_a_number_of_workers_that_makes_no_sense_is_refused(serve: Callable[..., Serving]) -> None:
    for workers in ("0", "65"):
        refused = serve("--workers", workers)
        assert refused.end() == 2
        assert "KESSAI_WORKERS" in refused.log.read_text()
