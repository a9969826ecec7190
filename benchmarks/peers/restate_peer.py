"""Restate: one node of its server with a log of its own, and the service behind granian."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Figures, figures
from benchmarks.peers.processes import PYTHON, free_ports, measured, running, versions

MODULES = Path(__file__).with_name("node_modules") / "@restatedev"
START_S = 60.0
"""How long the server may take to start, in seconds."""
PARTITIONS = 4
"""On two cores, four made more payments than the 24 it starts with, and than two or eight."""
CONFIGURATION = """
node-name = "bench"
cluster-name = "bench"
base-dir = "{folder}"
listen-mode = "tcp"
bind-address = "127.0.0.1:{node}"
log-filter = "warn"
disable-telemetry = true
default-num-partitions = {partitions}

[admin]
bind-address = "127.0.0.1:{admin}"

[ingress]
bind-address = "127.0.0.1:{ingress}"

[log-server]
rocksdb-disable-wal-fsync = false
"""
"""`rocksdb-disable-wal-fsync = false` is Restate's default too: what is appended to the log is
acknowledged after fdatasync of its write-ahead log. The rest of its state is derived from the log.
"""


def server() -> Path | None:
    """The server's program, where npm has installed it."""
    return next(MODULES.glob("restate-server-*/bin/restate-server"), None)


class Restate:
    """Payments come by HTTP to the server's ingress; it calls the service over HTTP/2."""

    name = "Restate"

    def __init__(self, program: Path) -> None:
        self._program = program

    @property
    def settings(self) -> str:
        """See `System`."""
        done = subprocess.run(
            [self._program, "--version"], capture_output=True, text=True, check=True
        )
        return (
            f"{done.stdout.strip()}, {versions('restate-sdk', 'granian', 'uvloop')}; one node, "
            f"{PARTITIONS} partitions, log-server.rocksdb-disable-wal-fsync = false, "
            "steps gathered, HTTP/2, one worker"
        )

    def run(self, in_flight: int, seconds: float) -> Figures:
        """See `System`."""
        node, admin, ingress, service = free_ports(4)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kessai-bench-")))
            behind = stack.enter_context(running(_granian(service), log=folder / "service.log"))
            configuration = folder / "restate.toml"
            configuration.write_text(
                CONFIGURATION.format(
                    folder=folder / "data",
                    node=node,
                    admin=admin,
                    ingress=ingress,
                    partitions=PARTITIONS,
                )
            )
            log = folder / "server.log"
            before = stack.enter_context(
                running(
                    [self._program, "--config-file", configuration, "--no-logo"],
                    environment=os.environ | {"DO_NOT_TRACK": "1"},  # noqa: TID251 - handed on
                    log=log,
                )
            )
            _register(admin, service, log)
            _load(ingress, min(in_flight, 64), 1.0)
            found, cpu_s = measured(
                lambda: _load(ingress, in_flight, seconds), service=behind.pid, server=before.pid
            )
        return figures(found, cpu_s)


def _granian(port: int) -> list[str | Path]:
    options = (
        f"--interface asginl --http 2 --no-ws --host 127.0.0.1 --port {port} --workers 1 "
        "--loop uvloop --log-level warning benchmarks.peers.restate_service:app"
    )
    return [PYTHON, "-m", "granian", *options.split()]


def _register(admin: int, service: int, log: Path) -> None:
    """Tells the server of the service, as soon as it listens and both of them can answer."""
    deployment = json.dumps({"uri": f"http://127.0.0.1:{service}"})
    end = time.perf_counter() + START_S
    while time.perf_counter() < end:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=START_S)
            headers = {"content-type": "application/json"}
            connection.request("POST", "/deployments", deployment, headers)
            if connection.getresponse().status in {http.client.OK, http.client.CREATED}:
                return
        time.sleep(0.2)
    raise SystemExit(f"Restate did not start:\n{log.read_text()[-2000:]}")


def _load(ingress: int, in_flight: int, seconds: float) -> dict[str, Any]:
    url = f"http://127.0.0.1:{ingress}/payments/pay"
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "benchmarks.peers.http_load",
        url,
        str(in_flight),
        str(seconds),
    ]
    with running(command) as process:
        out, _ = process.communicate()
    found: dict[str, Any] = json.loads(out)
    return found
