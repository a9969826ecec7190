"""One life of a simulated process: when it ends, nothing of the process runs any more.

Everything that a process starts (tasks, timers, callbacks) carries its life in the context, and the
loop of virtual time drops what belongs to an ended one. No `finally` or `except` of it runs, as
none does after SIGKILL: what is dropped is kept until the loop is closed, since being collected
would run them too. What others do for it, such as a delivery on its way, starts `outside`.
"""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakSet

T = TypeVar("T")
ENDINGS = 100
"""How often a coroutine is told to end that goes on waiting while it does."""


class Graveyard(Protocol):
    """The loop, which keeps what must not run any more, or not now."""

    def bury(self, life: Life) -> None:
        """Drops every callback and timer of an ended life."""

    def freeze(self, life: Life) -> None:
        """Lays every callback and timer of a life by."""

    def thaw(self, life: Life) -> None:
        """Takes them up again."""


class Life:
    """From the start of a process to its crash; made and ended inside a loop of virtual time.

    asked    what others have asked of it and wait for
    laid_by  what it will do once it is not frozen any more
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = False
        self.frozen = False
        self.laid_by: list[asyncio.Handle] = []
        self.asked: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._context = contextvars.copy_context()
        self._context.run(_LIFE.set, self)

    def start(self, run: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """A task of this process."""
        return asyncio.create_task(run, name=name, context=self._context.copy())

    async def ask(self, ask: Callable[[], Awaitable[T]]) -> asyncio.Task[T] | None:
        """Has this process do something; its ended task, or None when its life ended first."""
        if self.over:
            return None  # whoever asks was told that it is there, and it died at that instant

        asking = ask()  # of this process: when the task begins another one may be there

        async def asked() -> T:
            return await asking

        task = self.start(asked())
        heard = self.asked[task] = asyncio.get_running_loop().create_future()
        task.add_done_callback(lambda ended: _tell(heard, ended))
        try:
            await heard
        finally:
            del self.asked[task]
        return task if task.done() else None

    def end(self) -> None:
        """The process is gone, from the next instant on; whoever asked it something hears."""
        self.over = True
        cast("Graveyard", asyncio.get_running_loop()).bury(self)
        for heard in self.asked.values():
            _tell(heard)

    def freeze(self) -> None:
        """The process stops where it is, as after SIGSTOP; it does not know of it."""
        self.frozen = True
        cast("Graveyard", asyncio.get_running_loop()).freeze(self)

    def thaw(self) -> None:
        """It goes on. Whatever it waited for in the meantime is late."""
        if self.frozen:
            self.frozen = False
            cast("Graveyard", asyncio.get_running_loop()).thaw(self)

    def throw_away(self) -> None:
        """Lets go of what was kept, when nothing can come of it any more."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in list(self.tasks):
                run = task.get_coro()
                assert run is not None, "it is a coroutine's"
                for _ in range(ENDINGS):
                    with suppress(BaseException):  # whatever its `finally` wanted
                        self._context.run(run.close)
                        break


def _tell(heard: asyncio.Future[None], ended: asyncio.Task[Any] | None = None) -> None:
    if ended is not None and not ended.cancelled():
        ended.exception()  # it is seen, also by one who does not wait any more
    if not heard.done():
        heard.set_result(None)


_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


def life_of(context: Context | None = None) -> Life | None:
    """Whose life a context (or the running code) belongs to, if any's."""
    return _LIFE.get() if context is None else context.get(_LIFE)


def outside() -> Context:
    """The running context, but nobody's: what starts in it outlives every process."""
    context = contextvars.copy_context()
    context.run(_LIFE.set, None)
    return context


async def alive() -> None:
    """Returns at once, unless the life of whoever runs this is over: then never."""
    life = _LIFE.get()
    if life is not None and life.over:
        await asyncio.get_running_loop().create_future()
