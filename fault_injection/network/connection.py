"""One connection over a link: two pumps, each of which asks the link's condition what to do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import StrEnum
from typing import TYPE_CHECKING

from fault_injection.network.conditions import Condition, Fate, Way

if TYPE_CHECKING:
    from fault_injection.network.link import Link

CHUNK = 64 * 1024
VANISHED_S = 30.0
"""How long the ends of a vanished connection are kept before they are given up, in seconds: as if
their own keepalive did."""
_NO_LINGER = struct.pack("ii", 1, 0)


class Side(StrEnum):
    """Which way bytes go."""

    REQUESTS = "requests"
    REPLIES = "replies"


class _Reset(Exception):
    """The connection has to end in a reset."""


class Connection:
    """From whoever connected (`near`) to who listens (`far`)."""

    def __init__(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._link = link
        self._near = (reader, writer)
        self._writers = [writer]
        self._task: asyncio.Task[None] | None = None
        self._vanished = False
        self._broken = False
        self._budget = link.budget()

    async def run(self) -> None:
        """Carries it until both sides have ended it, or it is reset."""
        self._task = asyncio.current_task()
        gracefully = False
        try:
            await self._link.until(lambda: self._link.takes)
            far = await self._link.dial()
            self._writers.append(far[1])
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(self._near[0], far[1], Side.REQUESTS))
                pumps.create_task(self._pump(far[0], self._near[1], Side.REPLIES))
            gracefully = True
        except* (_Reset, OSError):
            pass
        finally:
            await self._end(gracefully=gracefully)

    def reset(self) -> None:
        """Ends it at once, with a reset to both sides."""
        if self._task is not None:
            self._task.cancel()

    def meet(self, condition: Condition) -> None:
        """The link's condition has changed."""
        fates = {condition.requests.fate, condition.replies.fate}
        if self._broken and Fate.LOST not in fates:
            self.reset()
        if condition.vanishing and not self._vanished:
            self._vanished = True
            asyncio.get_running_loop().call_later(VANISHED_S, self.reset)
        self._budget = self._link.budget()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, side: Side
    ) -> None:
        while True:
            chunk = await _read(reader)
            way = self._way(side)
            if way.fate is Fate.HELD and not self._vanished:
                self._link.count(held=1)
                await self._link.until(
                    lambda: self._vanished or self._way(side).fate is not Fate.HELD
                )
                way = self._way(side)
            if self._vanished or way.fate is Fate.LOST:
                # The end of a stream is lost like anything else that is sent.
                self._broken = self._broken or not self._vanished
                self._link.count(lost=len(chunk or b""))
                if not chunk:
                    await self._link.until(lambda: False)
            elif chunk is None:
                raise _Reset
            elif not chunk:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            else:
                await self._link.delay(way, len(chunk))
                await self._deliver(writer, chunk)

    def _way(self, side: Side) -> Way:
        condition = self._link.condition
        return condition.requests if side is Side.REQUESTS else condition.replies

    async def _deliver(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        budget = self._budget
        if budget is not None:
            chunk = chunk[:budget]
            self._budget = budget - len(chunk)
        writer.write(chunk)
        await writer.drain()
        self._link.count(passed=len(chunk))
        if budget is not None and self._budget == 0:
            raise _Reset

    async def _end(self, *, gracefully: bool) -> None:
        if not gracefully:
            self._link.count(resets=1)
        for writer in self._writers:
            if gracefully:
                writer.close()
            else:
                _abort(writer)
        try:
            for writer in self._writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        finally:
            for writer in self._writers:  # reset while it was being closed
                writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    """What came; empty at the end of the stream, None when it was reset."""
    try:
        return await reader.read(CHUNK)
    except OSError:
        return None


def _abort(writer: asyncio.StreamWriter) -> None:
    """Ends one side with a reset; over a local socket it is an end without more ado."""
    peer = writer.get_extra_info("socket")
    if peer is not None and peer.family in {socket.AF_INET, socket.AF_INET6}:
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
