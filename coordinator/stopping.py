"""How a coordinator stops: nothing new is taken, what is under way is finished or given back.

In this order: health says NOT_SERVING and new calls are refused, of callers and of operators;
recovery takes up no more; calls and transactions under way get `drain_s` to end; those who still
wait are told how their payment stands; what is still driven is dropped where it durably stands, and
its claim given back, due at once, so that another process goes on with its next recovery scan
instead of after the lease. No call is left by then that could claim anything anew.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping

from coordinator.domain.errors import KessaiError
from coordinator.engine.drive import Driver
from coordinator.ports import Clock, Observer, Store
from coordinator.rpc.gate import Gate
from coordinator.rpc.server import AdminServer, Server

LOOK_EVERY_S = 0.02
ANSWER_S = 1.0
"""How long those who are told how their payment stands may take to hear it, in seconds."""
SAME_S = 0.25
"""Signals that come together are one request, in seconds: a service manager may send one to the
parent of several workers and one to each of them."""
RECOVER = "recover"
"""The background service that takes transactions up."""


def on_signals(stopping: asyncio.Event) -> None:
    """SIGTERM or SIGINT sets the event. A later one ends the process at once, as a crash would."""
    loop = asyncio.get_running_loop()

    def again() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    def asked() -> None:
        if not stopping.is_set():
            stopping.set()
            loop.call_later(SAME_S, again)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)


class Stop:
    """Stops one coordinator; see the head of this module. `background` are its services' tasks.

    `admin` is the operators' server, where there is one.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        server: Server,
        admin: AdminServer | None,
        driver: Driver,
        store: Store,
        background: Mapping[str, asyncio.Task[None]],
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._gate = gate
        self._server = server
        self._admin = admin
        self._driver = driver
        self._store = store
        self._background = background
        self._clock = clock
        self._observer = observer

    async def __call__(self, drain_s: float) -> int:
        """Returns how many transactions were given back, when nothing is under way any more."""
        end = self._clock.monotonic() + drain_s
        self._gate.close()
        await self._server.refuse()
        if self._admin is not None:
            await self._admin.refuse()
        if RECOVER in self._background:
            await _ended(self._background[RECOVER])
        while self._under_way and self._clock.monotonic() < end:
            await self._clock.sleep(LOOK_EVERY_S)
        self._driver.updates.close()
        end = self._clock.monotonic() + ANSWER_S
        while (self._gate.calls or self._gate.streams) and self._clock.monotonic() < end:
            await self._clock.sleep(LOOK_EVERY_S)
        await self._server.stop()
        if self._admin is not None:
            await self._admin.stop()
        await self._driver.drain(0)
        await _ended(*self._background.values())
        return await self._give_back()

    @property
    def _under_way(self) -> bool:
        operators = 0 if self._admin is None else self._admin.calls
        return bool(self._driver.tasks or self._gate.calls or operators)

    async def _give_back(self) -> int:
        try:
            return await self._store.release_claims()
        except KessaiError as error:  # then the lease runs out
            self._observer.troubled("give claims back", error)
            return 0


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
