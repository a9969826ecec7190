"""Publishes the outbox. An event is offered until the broker has it; its ID removes duplicates.

Events of one transaction leave in order, because only its first unpublished event is ever claimed.
"""

from __future__ import annotations

import asyncio

from coordinator.domain.transaction import OutboxEvent
from coordinator.ports import Observer, Publisher, Store

BATCH = 100
"""How many events one pass claims."""
LEASE_S = 5.0
"""How long a claimed event belongs to the process that claimed it, in seconds; also how soon it is
offered again after the broker did not take it."""


class Relay:
    """One pass over the outbox."""

    def __init__(self, *, store: Store, publisher: Publisher, observer: Observer) -> None:
        self._store = store
        self._publisher = publisher
        self._observer = observer

    async def run_once(self) -> int:
        """Publishes a batch; returns how many events the broker took."""
        events = await self._store.claim_events(BATCH, LEASE_S)
        if not events:
            return 0
        taken = await asyncio.gather(*(self._publish(event) for event in events))
        published = [event for event, ok in zip(events, taken, strict=True) if ok]
        if published:
            await self._store.mark_published(published)
        return len(published)

    async def _publish(self, event: OutboxEvent) -> bool:
        try:
            await self._publisher.publish(event)
        except Exception as error:  # noqa: BLE001 - one event's trouble is not its neighbours'
            self._observer.troubled("publish", error, event.transaction_id)
            return False
        return True
