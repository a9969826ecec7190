"""Starting and stopping the peers' processes, and the CPU that they took."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from benchmarks.machine import cpu_s

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
STOP_S = 10.0
"""How long a process may take to stop before it is killed, in seconds."""
T = TypeVar("T")


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The process, which is stopped with its children at the end; its output in `log` if named."""
    with (
        log.open("w") if log else nullcontext() as file,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=file or subprocess.PIPE,
            stderr=file,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    tree = _tree(process.pid)
    process.terminate()
    _, left = psutil.wait_procs(tree, timeout=STOP_S)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def measured(work: Callable[[], T], **pids: int) -> tuple[T, dict[str, float]]:
    """What `work` returns, and the CPU seconds that each of the process trees took meanwhile."""
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    done = work()
    return done, {name: cpu_s(pid) - before[name] for name, pid in pids.items()}


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on, all different."""
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in with_ports]
    for listener in with_ports:
        listener.close()
    return ports


def versions(*packages: str) -> str:
    """What the peers' environment has of these packages, as `name version, …`."""
    code = (
        "import sys\nfrom importlib.metadata import version\n"
        "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    )
    done = subprocess.run(
        [PYTHON, "-c", code, *packages], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
