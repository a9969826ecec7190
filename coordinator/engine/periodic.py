"""The skeleton of every background service: run one pass, wait, again.

A pass that found work is followed by the next one at once; a pass that failed is reported, and the
service goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from coordinator.ports import Clock, Observer


class Periodic:
    """Calls `run_once` for ever, with `interval_s` between passes that found nothing."""

    def __init__(
        self,
        name: str,
        run_once: Callable[[], Awaitable[int]],
        *,
        interval_s: float,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self.name = name
        self._run_once = run_once
        self._interval_s = interval_s
        self._clock = clock
        self._observer = observer

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                found = await self._run_once()
            except Exception as error:  # noqa: BLE001 - a background service outlives its errors
                self._observer.troubled(self.name, error)
                found = 0
            if not found:
                await self._clock.sleep(self._interval_s)
