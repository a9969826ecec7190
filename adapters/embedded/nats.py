"""A real NATS server with JetStream from a wheel, for `kessai up`, `kessai demo` and the tests.

Whoever starts it owns it and stops it; when the owner is killed, a guard does. It runs in a session
of its own, so that a Ctrl-C in the terminal reaches only its owner, who then stops it in the right
order.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.embedded.guard import Guard, runs, stop
from coordinator.domain.errors import ConfigurationError

START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0
_LOOK_EVERY_S = 0.02


class EmbeddedNats:
    """A NATS server on 127.0.0.1, with its data and its log in `folder`.

    The port is free one at the first start (or `port`), and the same one after a `stop` and
    `start`. Use as a context manager. Raises ConfigurationError when there is no server program or
    it does not start.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self._folder = folder
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """A `nats://` URL; known from the first start on."""
        assert self._port is not None, "not started yet"
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The server's process ID, while it runs."""
        assert self._process is not None, "not running"
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it takes connections; does nothing if it runs."""
        if self._process is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._guard = Guard(self._folder / "lock")
        try:
            self._stop_leftovers()
            self._process = self._started()
            self._guard.watch(self._process.pid, (signal.SIGTERM, signal.SIGKILL))
            self._port = self._wait_for_port(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the server: asks it first, then kills it; does nothing if it does not run."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_LIMIT_S)
        self.crash()

    def crash(self) -> None:
        """Kills the server at once; does nothing if it does not run. `start` starts it again."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            self._ports_file(process).unlink(missing_ok=True)
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [
            *(_program(), "--addr", "127.0.0.1", "--port", str(self._port or -1)),
            *("--jetstream", *self._store, "--log", str(self._folder / "nats.log")),
            *("--ports_file_dir", str(self._folder)),
        ]
        return subprocess.Popen(  # noqa: S603 - our own program, our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def _store(self) -> tuple[str, str]:
        return "--store_dir", str(self._folder / "jetstream")

    def _stop_leftovers(self) -> None:
        """Stops a server on our data whose owner and guard were both killed.

        The file of ports has its ID; by now the ID may be another program's, which is left alone.
        """
        for path in self._folder.glob("nats-server_*.ports"):
            number = path.stem.rpartition("_")[2]
            if number.isdigit() and runs(int(number)):
                command = _command_line(int(number))
                if "nats-server" in command and " ".join(self._store) in command:
                    stop(int(number), (signal.SIGTERM, signal.SIGKILL))
            path.unlink(missing_ok=True)

    def _ports_file(self, process: subprocess.Popen[bytes]) -> Path:
        return self._folder / f"nats-server_{process.pid}.ports"

    def _wait_for_port(self, process: subprocess.Popen[bytes]) -> int:
        """The port, from the file the server writes once it listens.

        Looks again whenever waiting for the server's end has timed out, so an end is seen at once.
        """
        path = self._ports_file(process)
        for _ in range(round(START_LIMIT_S / _LOOK_EVERY_S)):
            try:
                [url] = json.loads(path.read_bytes())["nats"]
                return int(url.rpartition(":")[2])
            except (FileNotFoundError, ValueError):
                pass  # not there yet, or half written
            try:
                status = process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            raise ConfigurationError(
                f"nats-server ended with status {status}; see {self._folder / 'nats.log'}"
            )
        raise ConfigurationError(
            f"nats-server was not ready in {START_LIMIT_S:.0f} s; see {self._folder / 'nats.log'}"
        )


def _command_line(pid: int) -> str:
    """The process's command and its arguments; empty if there is no such process any more."""
    shown = Path(f"/proc/{pid}/cmdline")
    try:
        if shown.exists():
            return shown.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        asked = ("ps", "-ww", "-o", "args=", "-p", str(pid))
        return subprocess.run(  # noqa: S603 - nothing in it comes from outside
            asked, capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return ""


def _program() -> str:
    """The server's path: the wheel's, beside this Python, or the machine's own."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ConfigurationError(
            "there is no nats-server; install `kessai[embedded]`, or give the URL of a running one"
        )
    return found
