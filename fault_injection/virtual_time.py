"""An asyncio loop on virtual time: waiting costs nothing, and the machine's speed matters nowhere.

When no callback is ready, time jumps to the next timer. When there is no timer either, the program
would hang for ever; the loop raises `Idle` instead, so that a lost wake-up is a failure and not a
timeout. There are no sockets and no threads: `run_in_executor` calls directly.

With a seed, whatever is ready at one moment runs in an order of the seed's, and what an executor
does takes a few milliseconds: the same program runs in as many ways as there are seeds.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - seeded: the order of what is ready
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time begins."""


EXECUTOR_S = 0.008
"""How long an executor takes at most, in seconds, with a seed."""


class Idle(RuntimeError):
    """Nothing is ready and nothing is scheduled, but the program has not ended."""


class _Skipper(selectors.SelectSelector):
    """Instead of waiting for I/O, moves the loop's time forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.before: Callable[[], None] = lambda: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Idle("every task waits for something that will never happen")
        self.now_s += max(timeout, 0.0)
        self.before()
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the head of this module."""

    _ready: deque[asyncio.Handle]

    def __init__(self, seed: int | None = None) -> None:
        self._skipper = _Skipper()
        super().__init__(self._skipper)
        self._chance = None if seed is None else random.Random(seed)  # noqa: S311 - an order
        if self._chance is not None:
            self._skipper.before = self._shuffle

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._skipper.now_s

    def run_in_executor(  # type: ignore[override] # a future either way
        self, _executor: object, function: Callable[..., T], *arguments: Any
    ) -> asyncio.Future[T]:
        """Calls `function` at the loop's next turn, in the loop's own thread."""
        future: asyncio.Future[T] = self.create_future()
        if self._chance is None:
            self.call_soon(self._call, future, function, arguments)
        else:
            delay_s = self._chance.random() * EXECUTOR_S
            self.call_later(delay_s, self._call, future, function, arguments)
        return future

    def _shuffle(self) -> None:
        if len(self._ready) > 1:
            assert self._chance is not None, "only a loop with a seed shuffles"
            ready = list(self._ready)
            self._chance.shuffle(ready)
            self._ready.clear()
            self._ready.extend(ready)

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


@dataclass(frozen=True)
class VirtualClock:
    """A `Clock` on the running loop's time; all of them are equal."""

    def now(self) -> datetime:
        """The virtual time, in UTC."""
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds` of virtual time."""
        await asyncio.sleep(seconds)  # noqa: TID251 - this is a Clock

    def monotonic(self) -> float:
        """Seconds of virtual time."""
        return asyncio.get_running_loop().time()


def run(program: Coroutine[Any, Any, T], seed: int | None = None) -> T:
    """Runs `program` to its end on virtual time. Raises Idle when it can never end."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(seed)) as runner:
        return runner.run(program)


class Kept:
    """A loop that is kept from one program to the next: what one leaves running goes on then.

    Between two programs no time passes and nothing runs.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._runner = asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(seed))

    def run(self, program: Coroutine[Any, Any, T]) -> T:
        """Runs `program` to its end. Raises Idle when it can never end."""
        return self._runner.run(program)

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._runner.get_loop().time()

    def close(self) -> None:
        """Cancels what is left, and ends the loop."""
        self._runner.close()
