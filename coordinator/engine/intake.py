"""Which flows take new payments: an operator may pause one, and a failing one pauses itself.

A pause refuses new payments before anything is committed; what was accepted goes on, and so do its
captures and refunds. Pauses stand in the database, for every process; here they are in memory,
read anew every second, so that accepting a payment asks nobody.

Each process counts how the payments that it drives leave CREATED (`domain.pausing`), and pauses a
flow when too many of them found a participant silent. Such a pause ends by itself, and the count
begins anew: should the flow go on failing, it is paused again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from coordinator.domain.errors import FlowPaused
from coordinator.domain.pausing import PausePolicy, Window, found_silence
from coordinator.domain.transaction import Change
from coordinator.ports import Clock, Observer, Pause, Store

ACTOR = "kessai"
"""Who pauses when nobody did."""
INTERVAL_S = 1.0
"""How old a pause, or its end, may be when it is noticed, in seconds."""


class Intake:
    """The gate of new payments. Without a policy no flow pauses itself."""

    def __init__(
        self, *, store: Store, clock: Clock, observer: Observer, policy: PausePolicy | None
    ) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._policy = policy
        self._pauses: Mapping[str, Pause] = {}
        self._windows: dict[str, Window] = {}

    def admit(self, flow: str) -> None:
        """Returns when the flow takes new payments. Raises FlowPaused."""
        now = self._clock.now()
        if pause := self._paused(flow, now):
            raise _refusal(pause, now)

    def committed(self, change: Change) -> None:
        """Counts the change, if a payment leaves CREATED in it; see `Observer.committed`."""
        if self._policy is None:
            return
        silent = found_silence(change)
        if silent is None:
            return
        window = self._windows.get(change.after.flow)
        if window is None:
            window = self._windows[change.after.flow] = Window(self._policy.window_s)
        window.add(self._clock.monotonic(), silent=silent)

    async def run_once(self) -> int:
        """Reads the pauses and pauses what fails too often; 0, since there is never more to do.

        Raises StoreUnavailable; what was known before stands until the next pass.
        """
        await self._refresh()
        if self._policy is not None and await self._pause_failing(self._policy):
            await self._refresh()
        return 0

    async def _refresh(self) -> None:
        self._pauses = {pause.flow: pause for pause in await self._store.pauses()}

    async def _pause_failing(self, policy: PausePolicy) -> bool:
        """Whether anything was paused."""
        paused = False
        for flow, window in list(self._windows.items()):
            now = self._clock.now()
            if self._paused(flow, now):
                window.clear()  # who was accepted before the pause says nothing of its end
                continue
            ended, silent = window.totals(self._clock.monotonic())
            if not policy.pauses(ended, silent):
                continue
            until = now + timedelta(seconds=policy.pause_s)
            pause = Pause(flow, ACTOR, policy.reason(ended, silent), now, until)
            await self._store.pause(pause)
            window.clear()
            self._observer.troubled(f"intake of {flow}", _refusal(pause, now))
            paused = True
        return paused

    def _paused(self, flow: str, now: datetime) -> Pause | None:
        pause = self._pauses.get(flow)
        return None if pause is None or (pause.until and pause.until <= now) else pause


def _refusal(pause: Pause, now: datetime) -> FlowPaused:
    left_s = None if pause.until is None else (pause.until - now).total_seconds()
    return FlowPaused(
        pause.flow, by=pause.actor, reason=pause.reason, since=pause.since, left_s=left_s
    )
