"""One link: an address that others connect to, and the address that it stands for."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - seeded: jitter, and after how many bytes a connection is reset
import socket
from collections.abc import Callable
from dataclasses import replace

from adapters.system import SystemClock
from fault_injection.network.conditions import CLEAR, Condition, Connecting, Traffic, Way
from fault_injection.network.connection import Connection

HOST = "127.0.0.1"
BACKLOG = 512


class Link:
    """Listens on a free port of 127.0.0.1 and carries every connection to `target`.

    `target` is HOST:PORT, or the path of a local socket. `seed` decides jitter and where resets
    fall. The port stays ours while connections are refused.
    """

    def __init__(self, target: str, seed: str) -> None:
        self._target = target
        self._chance = random.Random(seed)  # noqa: S311 - no secret is made of it
        self._clock = SystemClock()
        self._reserved = _bound(0)
        self._port: int = self._reserved.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._traffic = Traffic()
        self.condition = CLEAR

    @property
    def address(self) -> str:
        """Where others connect."""
        return f"{HOST}:{self._port}"

    @property
    def traffic(self) -> Traffic:
        """What has passed so far."""
        return replace(self._traffic, open=len(self._connections))

    @property
    def takes(self) -> bool:
        """Whether new connections are carried on."""
        return self.condition.connecting is not Connecting.HANGING

    async def open(self) -> None:
        """Begins to listen."""
        sock = _bound(self._port)
        self._server = await asyncio.start_server(self._carry, sock=sock, backlog=BACKLOG)

    async def impose(self, condition: Condition) -> None:
        """From now on the link is like this."""
        self.condition = condition
        for connection in tuple(self._connections):
            connection.meet(condition)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if condition.connecting is Connecting.REFUSED:
            self._stop_listening()
            await self._end_all()
        elif self._server is None:
            await self.open()

    async def close(self) -> None:
        """Ends every connection and stops listening."""
        self._stop_listening()
        await self._end_all()
        self._reserved.close()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns when it holds, which only a change of the condition brings about."""
        while not holds():
            await self._changed.wait()

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the target. Raises OSError."""
        if self._target.startswith("/"):
            return await asyncio.open_unix_connection(self._target)
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def delay(self, way: Way, size: int) -> None:
        """Returns when so many bytes may be delivered."""
        seconds = way.latency_s + way.jitter_s * self._chance.random()
        if way.bytes_per_s is not None:
            seconds += size / way.bytes_per_s
        if seconds:
            await self._clock.sleep(seconds)

    def budget(self) -> int | None:
        """After how many bytes a connection is reset; None: it is not."""
        after = self.condition.reset_after
        return None if after is None else self._chance.randint(*after)

    def count(self, *, passed: int = 0, lost: int = 0, held: int = 0, resets: int = 0) -> None:
        """Adds to what is told of the traffic."""
        was = self._traffic
        self._traffic = replace(
            was,
            passed=was.passed + passed,
            lost=was.lost + lost,
            held=was.held + held,
            resets=was.resets + resets,
        )

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio gives every connection a task"
        connection = Connection(self, reader, writer)
        self._connections.add(connection)
        self._tasks.add(task)
        self._traffic = replace(self._traffic, connections=self._traffic.connections + 1)
        try:
            await connection.run()
        except asyncio.CancelledError:
            pass  # it was reset; nobody waits for this task's result
        finally:
            self._connections.discard(connection)
            self._tasks.discard(task)

    def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _end_all(self) -> None:
        for connection in tuple(self._connections):
            connection.reset()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))


def _bound(port: int) -> socket.socket:
    """A socket of this port that does not listen yet. Only our own may have the port as well."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((HOST, port))
    return made
