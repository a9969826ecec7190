"""`kessai serve --workers N`: several coordinator processes on one address, and their parent.

The parent serves nothing itself: it starts the workers, hands signals on, and starts a worker again
that ended by itself. The kernel spreads connections over the workers (SO_REUSEPORT). Workers share
the database alone; to it they are as separate as coordinators on separate machines.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias

import structlog

from adapters.system import SystemClock
from coordinator import config
from coordinator.cli.child import Child, ChildEvent, Ended, Ready
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.ports import refuse_taken
from coordinator.config import Settings
from coordinator.domain.errors import ConfigurationError
from coordinator.telemetry import configure_logs

BACKOFF_S = 0.5
BACKOFF_CAP_S = 30.0
"""How long until a worker that ended is started again, in seconds; doubles up to the cap."""
STEADY_S = 60.0
"""A worker that was ready for so long starts again without the backoff of the times before."""
SLACK_S = 30.0
"""How much longer than its drain a worker may take to end before it is killed, in seconds."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Asked:
    """A signal asked the parent to stop."""

    number: int


WorkerEvent: TypeAlias = ChildEvent | Asked


class Process(Protocol):
    """What the parent does with a worker; `Child` is one."""

    def start(self) -> None:
        """Starts it; its Ready and Ended come as events."""

    def ask_to_stop(self) -> None:
        """Sends SIGTERM, if it runs."""

    def kill(self) -> None:
        """Kills it at once, if it runs."""


def backoff_s(deaths: int) -> float:
    """How long to wait before a worker starts again that has died so often in a row (1, 2 …)."""
    return float(min(BACKOFF_CAP_S, BACKOFF_S * 2 ** min(deaths - 1, 16)))


def run(
    settings: Settings, on_ready: Callable[[str], None], on_admin: Callable[[str], None]
) -> int:
    """Runs `settings.workers` processes until SIGTERM or SIGINT; returns the exit status.

    `on_ready` is told the address once, when all of them serve; before it `on_admin` the address
    for operators, if they are served. Raises Failure when the address is
    taken by somebody else.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise Failure("--workers needs SO_REUSEPORT, which this system lacks", ExitCode.USAGE)
    configure_logs(settings.log_format, settings.log_level)
    events: SimpleQueue[WorkerEvent] = SimpleQueue()
    with _reserved(settings.listen) as address, _asking(events.put):
        children = [
            Child(
                str(number), ("serve",), environment_of(settings, address, number), None, events.put
            )
            for number in range(settings.workers)
        ]

        def all_ready(address: str) -> None:
            if children[0].admin_address:
                on_admin(children[0].admin_address)
            on_ready(address)

        try:
            return Workers(children, events, settings.drain_s + SLACK_S).run(all_ready)
        finally:
            for child in children:
                child.kill()


def environment_of(settings: Settings, address: str, number: int) -> dict[str, str]:
    """What tells a worker its settings.

    Only the first serves operators. Every worker has a /metrics of its own, on ports in a row;
    raises ConfigurationError when there are not so many.
    """
    own = config.as_environment(settings)
    own |= {"KESSAI_LISTEN": address, "KESSAI_WORKER": str(number)}
    if number:
        own["KESSAI_ADMIN_LISTEN"] = ""
    host, _, port = settings.metrics_listen.rpartition(":")
    if port and int(port):
        if int(port) + number > config.MAX_PORT:
            raise ConfigurationError(
                f"KESSAI_METRICS_LISTEN: {settings.workers} workers need as many ports in a row, "
                f"from {port} on; choose a lower one"
            )
        own["KESSAI_METRICS_LISTEN"] = f"{host}:{int(port) + number}"
    return config.child_environment(**own)


@contextmanager
def _reserved(listen: str) -> Iterator[str]:
    """The address with a port of its own, which stays bound here, so that nobody else gets it.

    A socket that is bound and does not listen gets no connections. Trouble with the address other
    than that it is taken is left to the workers, who know more about it.
    """
    refuse_taken(listen, "--listen")
    host, _, port = listen.rpartition(":")
    with ExitStack() as stack:
        # Second, where connections of an earlier server linger: anybody may bind beside it then.
        for reused in (0, 1):
            with suppress(OSError, OverflowError):
                [found, *_] = socket.getaddrinfo(
                    host.strip("[]"), int(port), type=socket.SOCK_STREAM
                )
                holder = stack.enter_context(socket.socket(found[0], socket.SOCK_STREAM))
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reused)
                holder.bind(found[4])
                listen = f"{host}:{holder.getsockname()[1]}"
                break
        yield listen


@contextmanager
def _asking(tell: Callable[[WorkerEvent], None]) -> Iterator[None]:
    """SIGTERM and SIGINT become events."""
    before = {
        number: signal.signal(number, lambda asked, _frame: tell(Asked(asked)))
        for number in _SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Workers:
    """The parent's loop over what happens. The name of a child in `events` is its number.

    The first worker starts alone: what is wrong for all of them is told once. `limit_s` is how long
    a stop may take until the workers are killed.
    """

    def __init__(
        self, children: Sequence[Process], events: SimpleQueue[WorkerEvent], limit_s: float
    ) -> None:
        self._children = children
        self._events = events
        self._limit_s = limit_s
        self._clock = SystemClock()
        self._log = structlog.get_logger().bind()
        self._deaths = [0] * len(children)
        self._ready_at: dict[int, float] = {}
        self._due: dict[int, float] = {}
        self._unready = set(range(len(children)))
        self._alive: set[int] = set()
        self._status: int | None = None
        self._kill_at: float | None = None

    def run(self, on_ready: Callable[[str], None]) -> int:
        """Returns the exit status when every worker has ended and none is to start again."""
        self._start(0)
        while self._status is None or self._alive:
            match self._next():
                case None:
                    self._on_time()
                case Asked(number):
                    self._on_asked(number)
                case Ready(name, _, address):
                    self._on_ready(int(name), address, on_ready)
                case Ended(name, _, status):
                    self._on_ended(int(name), status)
        return self._status

    def _start(self, worker: int) -> None:
        self._alive.add(worker)
        self._children[worker].start()

    def _next(self) -> WorkerEvent | None:
        """What happens next; None when it is time for something."""
        times = [*self._due.values(), *([] if self._kill_at is None else [self._kill_at])]
        wait_s = max(0.0, min(times) - self._clock.monotonic()) if times else None
        try:
            return self._events.get(timeout=wait_s)
        except Empty:
            return None

    def _on_time(self) -> None:
        now = self._clock.monotonic()
        for number in [number for number, at in self._due.items() if at <= now]:
            del self._due[number]
            self._start(number)
        if self._kill_at is not None and self._kill_at <= now:
            self._kill()

    def _on_asked(self, number: int) -> None:
        if self._kill_at is None:
            self._stop(ExitCode.OK)
        else:
            self._status = 128 + number
            self._kill()

    def _on_ready(self, worker: int, address: str, on_ready: Callable[[str], None]) -> None:
        self._ready_at[worker] = self._clock.monotonic()
        if worker not in self._unready:
            return
        if worker == 0 and self._status is None:
            for other in range(1, len(self._children)):
                self._start(other)
        self._unready.discard(worker)
        if not self._unready and self._status is None:
            on_ready(address)

    def _on_ended(self, worker: int, status: int | None) -> None:
        self._alive.discard(worker)
        ready_at = self._ready_at.pop(worker, None)
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        if self._status is not None:
            if status not in {0, -signal.SIGTERM, -signal.SIGKILL}:
                self._log.error("worker did not end well", worker=worker, reason=how)
                self._status = self._status or ExitCode.FAILED
            return
        self._log.error("worker ended by itself", worker=worker, reason=how)
        if worker in self._unready:  # it never served: it said why on stderr
            self._stop(status if status is not None and status > 0 else ExitCode.FAILED)
            return
        now = self._clock.monotonic()
        if ready_at is not None and now - ready_at >= STEADY_S:
            self._deaths[worker] = 0
        self._deaths[worker] += 1
        self._due[worker] = now + backoff_s(self._deaths[worker])

    def _stop(self, status: int) -> None:
        self._status = status
        self._due.clear()
        self._kill_at = self._clock.monotonic() + self._limit_s
        for child in self._children:
            child.ask_to_stop()

    def _kill(self) -> None:
        self._kill_at = self._clock.monotonic() + self._limit_s
        for child in self._children:
            child.kill()
