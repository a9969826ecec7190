"""Lists the flows, stops the intake of one, and opens it again. What was accepted goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coordinator.domain.errors import InvalidRequest, Violation
from coordinator.domain.flow import Flow
from coordinator.domain.record import Record
from coordinator.engine.intake import Intake
from coordinator.ports import Clock, Pause, Store


class FlowView(Record, frozen=True):
    """One flow. `flow` is None when it is not served here; `pause` when it takes new payments."""

    name: str
    flow: Flow | None
    pause: Pause | None


class FlowDesk:
    """The use cases. `intake` is this process's, which hears of a change at once."""

    def __init__(
        self, *, store: Store, intake: Intake, flows: Mapping[str, Flow], clock: Clock
    ) -> None:
        self._store = store
        self._intake = intake
        self._flows = flows
        self._clock = clock

    async def flows(self) -> Sequence[FlowView]:
        """Those that are served and those that are paused, by name. Raises StoreUnavailable."""
        now = self._clock.now()
        pauses = {
            pause.flow: pause
            for pause in await self._store.pauses()
            if pause.until is None or pause.until > now
        }
        names = sorted(self._flows.keys() | pauses.keys())
        return [FlowView(name, self._flows.get(name), pauses.get(name)) for name in names]

    async def pause(self, flow: str, actor: str, reason: str) -> FlowView:
        """Stops the intake until somebody opens it. Raises InvalidRequest, StoreUnavailable."""
        if flow not in self._flows:
            text = f"is no flow that is served here; {', '.join(sorted(self._flows))} are"
            raise InvalidRequest([Violation("flow", "UNKNOWN_FLOW", text)])
        pause = Pause(flow, actor, reason, self._clock.now())
        await self._store.pause(pause)
        await self._intake.run_once()
        return FlowView(flow, self._flows[flow], pause)

    async def resume(self, flow: str) -> tuple[FlowView, bool]:
        """Opens the intake; False when it was open. Raises InvalidRequest, StoreUnavailable."""
        changed = await self._store.unpause(flow)
        await self._intake.run_once()
        if flow not in self._flows and not changed:
            text = f"is no flow that is served or paused; {', '.join(sorted(self._flows))} are"
            raise InvalidRequest([Violation("flow", "UNKNOWN_FLOW", text)])
        return FlowView(flow, self._flows.get(flow), None), changed
