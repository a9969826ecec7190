"""An asyncio loop on virtual time: waiting costs nothing, and the machine's speed matters nowhere.

When no callback is ready, time jumps to the next timer. When there is no timer either, the program
would hang for ever; the loop raises `Idle` instead, so that a lost wake-up is a failure and not a
timeout. There are no sockets and no threads: `run_in_executor` calls directly.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time begins."""


class Idle(RuntimeError):
    """Nothing is ready and nothing is scheduled, but the program has not ended."""


class _Skipper(selectors.SelectSelector):
    """Instead of waiting for I/O, moves the loop's time forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Idle("every task waits for something that will never happen")
        self.now_s += max(timeout, 0.0)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the head of this module."""

    def __init__(self) -> None:
        self._skipper = _Skipper()
        super().__init__(self._skipper)

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._skipper.now_s

    def run_in_executor(  # type: ignore[override] # a future either way
        self, _executor: object, function: Callable[..., T], *arguments: Any
    ) -> asyncio.Future[T]:
        """Calls `function` at the loop's next turn, in the loop's own thread."""
        future: asyncio.Future[T] = self.create_future()
        self.call_soon(self._call, future, function, arguments)
        return future

    @staticmethod
    def _call(
        future: asyncio.Future[T], function: Callable[..., T], arguments: tuple[Any, ...]
    ) -> None:
        if future.cancelled():
            return
        try:
            result = function(*arguments)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits
            future.set_exception(error)
        else:
            future.set_result(result)


class VirtualClock:
    """A `Clock` on the running loop's time."""

    def now(self) -> datetime:
        """The virtual time, in UTC."""
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds` of virtual time."""
        await asyncio.sleep(seconds)  # noqa: TID251 - this is a Clock

    def monotonic(self) -> float:
        """Seconds of virtual time."""
        return asyncio.get_running_loop().time()


def run(program: Coroutine[Any, Any, T]) -> T:
    """Runs `program` to its end on virtual time. Raises Idle when it can never end."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(program)
