"""Collects what many payments want to write, and hands it to one writer in groups.

While a group is being committed the next one collects: a group is as large as the database is
busy, and no timer makes a lone write wait. Runs on the event loop; the writer runs in an
executor, and its end is the one call into the loop that wakes all waiters of the group.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeAlias

from adapters.postgres.fields import Write, check_change
from adapters.postgres.group_writer import Result
from coordinator.domain.errors import KessaiError, Overloaded, StoreUnavailable
from coordinator.domain.transaction import Change
from coordinator.ports import CommitResult

Grouped: TypeAlias = Callable[[int, float], None]
"""Told of every group: how many writes it had, and how many seconds it took."""


def unheard(_writes: int, _seconds: float) -> None:
    """What hears of groups when nobody wants to."""


class GroupCommit:
    """The queue in front of the writer.

    write        makes a group durable; runs in `executor`; never raises
    owner        names this process in claims; unique among all processes that ever wrote
    batch_limit  most writes in one group
    queue_limit  most writes that wait: beyond it an update is refused as StoreUnavailable. A
                 creation is refused as Overloaded at half of it already: intake yields first
    timer        seconds since some fixed moment
    grouped      hears of every group that came back
    """

    def __init__(
        self,
        write: Callable[[Sequence[Write]], list[Result]],
        executor: Executor,
        *,
        owner: str,
        batch_limit: int,
        queue_limit: int,
        timer: Callable[[], float],
        grouped: Grouped = unheard,
    ) -> None:
        if batch_limit < 1 or queue_limit < 2 * batch_limit:
            raise ValueError("batch_limit must be at least 1 and queue_limit twice as much")
        self._write = write
        self._executor = executor
        self._owner = owner
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._timer = timer
        self._grouped = grouped
        self._handed_at = 0.0
        self._queue: deque[tuple[Write, asyncio.Future[CommitResult]]] = deque()
        self._writing: list[asyncio.Future[CommitResult]] = []
        self._pumping = False
        self._closed = False
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Writes that are not handed to the writer yet."""
        return len(self._queue)

    async def submit(self, change: Change) -> CommitResult:
        """What became of the change.

        Raises StoreUnavailable, Overloaded (nothing was written), or Bug when the change breaks a
        rule of the schema. A caller that is cancelled does not take its write back.
        """
        check_change(change)
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self._admit(change)
        after = change.after
        self._count += 1
        holder = self._owner if change.keep_claim and after.due_at is not None else None
        write = Write(change, after, holder, f"{self._owner}/{self._count}")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CommitResult] = loop.create_future()
        self._queue.append((write, future))
        if not self._pumping:
            self._pumping = True
            self._idle.clear()
            # Not at once: whoever else is ready in this turn of the loop comes along.
            loop.call_soon(self._pump)
        return await future

    async def settled(self) -> None:
        """Returns when nothing waits and nothing is being written."""
        await self._idle.wait()

    async def close(self) -> None:
        """Takes nothing more, and returns when everything that was taken is settled.

        Once the database does not answer a whole group, the rest is not tried any more.
        """
        self._closed = True
        await self._idle.wait()

    def _admit(self, change: Change) -> None:
        if change.expected_version == 0 and len(self._queue) >= self._queue_limit // 2:
            raise Overloaded(self._queue_limit // 2)
        if len(self._queue) >= self._queue_limit:
            raise StoreUnavailable("too many writes are waiting")

    def _pump(self) -> None:
        group = self._take()
        if not group:
            self._pumping = False
            self._idle.set()
            return
        self._writing = [future for _, future in group]
        self._handed_at = self._timer()
        asyncio.get_running_loop().run_in_executor(
            self._executor, self._write, [write for write, _ in group]
        ).add_done_callback(self._done)

    def _take(self) -> list[tuple[Write, asyncio.Future[CommitResult]]]:
        """The next group: at most one write of each transaction, the others keep their order."""
        group: list[tuple[Write, asyncio.Future[CommitResult]]] = []
        later: list[tuple[Write, asyncio.Future[CommitResult]]] = []
        taken: set[str] = set()
        while self._queue and len(group) < self._batch_limit:
            item = self._queue.popleft()
            if item[0].after.id in taken:
                later.append(item)
            else:
                taken.add(item[0].after.id)
                group.append(item)
        self._queue.extendleft(reversed(later))
        return group

    def _done(self, written: asyncio.Future[list[Result]]) -> None:
        futures, self._writing = self._writing, []
        self._grouped(len(futures), self._timer() - self._handed_at)
        if written.cancelled() or written.exception() is not None:
            results: list[Result] = [StoreUnavailable("the writer was stopped")] * len(futures)
        else:
            results = written.result()
        if self._closed and all(isinstance(result, StoreUnavailable) for result in results):
            futures += [future for _, future in self._queue]
            results = [*results, *(StoreUnavailable("the store is closed") for _ in self._queue)]
            self._queue.clear()
        # The writer goes on first; what the waiters do next overlaps with the next group.
        self._pump()
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            if isinstance(result, KessaiError):
                future.set_exception(result)
            else:
                future.set_result(result)
