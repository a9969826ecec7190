"""Lists the participants: whether each answers now, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from coordinator.domain.flow import Flow
from coordinator.domain.record import Record
from coordinator.ports import (
    Census,
    GuardedParticipant,
    ParticipantStatus,
    Reached,
    Store,
    Surroundings,
)


class ParticipantView(Record, frozen=True):
    """One participant. `waiting` counts the steps that wait for it after an error of it.

    oldest_s  how long the oldest of them waits, in seconds
    """

    name: str
    phases: tuple[str, ...]
    status: ParticipantStatus
    reached: Reached
    waiting: int
    oldest_s: float


class ListParticipants:
    """The use case."""

    def __init__(
        self,
        *,
        store: Store,
        participants: Mapping[str, GuardedParticipant],
        flows: Mapping[str, Flow],
        surroundings: Surroundings,
    ) -> None:
        self._store = store
        self._participants = participants
        self._phases = phases_by_participant(flows)
        self._surroundings = surroundings

    async def __call__(self) -> Sequence[ParticipantView]:
        """All of them by name, asked at once. Raises StoreUnavailable."""
        return self.seen(await self._store.census(), await self.reached())

    async def reached(self) -> Mapping[str, Reached]:
        """Whether each answers now."""
        names = sorted(self._participants)
        found = await asyncio.gather(*(self._surroundings.participant(name) for name in names))
        return dict(zip(names, found, strict=True))

    def seen(self, census: Census, reached: Mapping[str, Reached]) -> list[ParticipantView]:
        """All of them by name, as the census and the health checks found them."""
        return [self._view(name, census, found) for name, found in reached.items()]

    def _view(self, name: str, census: Census, reached: Reached) -> ParticipantView:
        phases = self._phases.get(name, ())
        waiting = [census.waiting[phase] for phase in phases if phase in census.waiting]
        return ParticipantView(
            name=name,
            phases=phases,
            status=self._participants[name].status(),
            reached=reached,
            waiting=sum(each.count for each in waiting),
            oldest_s=max((each.oldest_s for each in waiting), default=0.0),
        )


def phases_by_participant(flows: Mapping[str, Flow]) -> Mapping[str, tuple[str, ...]]:
    """The names of the phases that each participant does, sorted."""
    found: dict[str, set[str]] = {}
    for flow in flows.values():
        for phase in flow.called:
            found.setdefault(phase.participant, set()).add(phase.name)
    return {name: tuple(sorted(phases)) for name, phases in found.items()}
