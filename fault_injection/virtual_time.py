"""An asyncio loop on virtual time: waiting costs nothing, and the machine's speed matters nowhere.

When no callback is ready, time jumps to the next timer. When there is no timer either, the program
would hang for ever; the loop raises `Idle` instead, so that a lost wake-up is a failure and not a
timeout. There are no sockets and no threads: `run_in_executor` calls directly.

With a seed, whatever is ready at one moment runs in an order of the seed's, and what an executor
does takes a few milliseconds: the same program runs in as many ways as there are seeds.

Whatever belongs to a life that is over (`lives`) is dropped instead of run.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random  # noqa: TID251 - seeded: the order of what is ready
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from fault_injection.lives import Life, life_of

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
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int

    def __init__(self, seed: int | None = None) -> None:
        self._skipper = _Skipper()
        super().__init__(self._skipper)
        self._buried: list[asyncio.Handle] = []
        self._ended: list[Life] = []
        self._kept: list[asyncio.Task[Any]] = []
        self._chance = None if seed is None else random.Random(seed)  # noqa: S311 - an order
        if self._chance is not None:
            self._skipper.before = self._shuffle

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._skipper.now_s

    def call_soon(  # type: ignore[override] # any callback
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See `asyncio`. What belongs to a life that is over is never called."""
        context = contextvars.copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        life = life_of(context)
        if life is None or not (life.over or life.frozen):
            self._ready.append(handle)
        else:
            (self._buried if life.over else life.laid_by).append(handle)
        return handle

    def call_at(  # type: ignore[override] # any callback
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See `asyncio`, and `call_soon`."""
        context = contextvars.copy_context() if context is None else context
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        life = life_of(context)
        if life is None or not (life.over or life.frozen):
            heapq.heappush(self._scheduled, timer)
            timer._scheduled = True  # type: ignore[attr-defined] # noqa: SLF001 - as asyncio
        else:
            (self._buried if life.over else life.laid_by).append(timer)
        return timer

    def create_task(  # type: ignore[override] # any coroutine
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """See `asyncio`. A life keeps count of its tasks."""
        task = super().create_task(coro, name=name, context=context)
        life = life_of(context)
        if life is not None:
            life.tasks.add(task)
            if life.over:
                self._keep(task)
        return task

    def bury(self, life: Life) -> None:
        """See `lives.Graveyard`."""
        self._ended.append(life)
        for handle in (*self._ready, *self._scheduled):
            if _is_of(handle, life):
                handle._cancelled = True  # noqa: SLF001 - `cancel` lets go of what it calls
                self._timer_cancelled_count += isinstance(handle, asyncio.TimerHandle)
                self._buried.append(handle)
        for task in life.tasks:
            self._keep(task)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """Nobody waits for it at the end, and it is not missed when it is thrown away."""
        asyncio.tasks._unregister_task(task)  # noqa: SLF001
        task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
        task._log_traceback = False  # noqa: SLF001
        self._kept.append(task)

    def freeze(self, life: Life) -> None:
        """See `lives.Graveyard`."""
        for at, handle in enumerate(self._ready):
            if _is_of(handle, life):
                life.laid_by.append(handle)
                self._ready[at] = _nothing(self)  # the loop counts what is ready
        mine = sorted(timer for timer in self._scheduled if _is_of(timer, life))
        for timer in mine:
            timer._scheduled = False  # type: ignore[attr-defined] # noqa: SLF001 - as asyncio
        self._scheduled = [timer for timer in self._scheduled if not _is_of(timer, life)]
        heapq.heapify(self._scheduled)
        life.laid_by += mine

    def thaw(self, life: Life) -> None:
        """See `lives.Graveyard`."""
        laid_by, life.laid_by = life.laid_by, []
        for handle in laid_by:
            if life.over or handle.cancelled():
                self._buried.append(handle)
            elif isinstance(handle, asyncio.TimerHandle):
                heapq.heappush(self._scheduled, handle)
                handle._scheduled = True  # type: ignore[attr-defined] # noqa: SLF001 - as asyncio
            else:
                self._ready.append(handle)

    def close(self) -> None:
        """See `asyncio`."""
        for life in self._ended:
            life.throw_away()
        super().close()
        for kept in (self._buried, self._ended, self._kept):
            kept.clear()

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


def _is_of(handle: asyncio.Handle, life: Life) -> bool:
    context: Context = handle._context  # type: ignore[attr-defined] # noqa: SLF001
    return not handle.cancelled() and life_of(context) is life


def _nothing(loop: asyncio.AbstractEventLoop) -> asyncio.Handle:
    handle = asyncio.Handle(lambda: None, (), loop)
    handle.cancel()
    return handle


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
