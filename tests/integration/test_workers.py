"""`kessai serve --workers N` as real processes over a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from coordinator.cli.ports import refuse_taken
from tests.support.serving import Serve, environment, servings, until

LIMIT_S = 60.0


@pytest.fixture
def serve(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Serve]:
    """Starts `kessai serve` over an empty database."""
    with servings(tmp_path, environment(new_database(), drain_s=5.0)) as start:
        yield start


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
    serve: Serve,
) -> None:
    serving = serve(
        *("--workers", "2", "--admin-listen", "127.0.0.1:0"),
        KESSAI_OPERATORS=json.dumps({"alice": "a" * 64}),
    )
    address = serving.address()
    assert healthy(serving.admin_address), "one of them serves operators"
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


def test_when_the_parent_is_killed_its_workers_end(serve: Serve) -> None:
    serving = serve("--workers", "2")
    serving.address()
    workers = serving.workers()
    serving.process.kill()
    serving.end()
    until(lambda: not any(map(alive, workers)), "no worker")


def test_when_the_lifeline_ends_the_parent_and_its_workers_end(
    serve: Serve,
) -> None:
    serving = serve("--workers", "2", "--lifeline")
    serving.address()
    workers = serving.workers()
    assert serving.process.stdin is not None
    serving.process.stdin.close()
    assert serving.end() == 0, serving.log.read_text()
    assert not any(map(alive, workers))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_somebody_else_uses_is_refused(serve: Serve, workers: str) -> None:
    first = serve("--workers", "2")
    second = serve("--workers", workers, KESSAI_LISTEN=first.address())
    assert second.end() == 1
    assert "is in use" in second.log.read_text()


def test_workers_that_cannot_start_end_their_parent_with_one_message(
    serve: Serve,
) -> None:
    away = serve("--workers", "3", KESSAI_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert away.end() == 3
    assert away.log.read_text().count("STORE_UNAVAILABLE") == 1
    wrong = serve("--workers", "3", KESSAI_FLOWS='["barter"]')
    assert wrong.end() == 2
    assert wrong.log.read_text().count("unknown barter") == 1


def test_a_number_of_workers_that_makes_no_sense_is_refused(serve: Serve) -> None:
    for workers in ("0", "65"):
        refused = serve("--workers", workers)
        assert refused.end() == 2
        assert "KESSAI_WORKERS" in refused.log.read_text()
