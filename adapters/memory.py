"""A broker in memory, for tests and the simulator. It keeps the same promises as the real one."""

from __future__ import annotations

from adapters.cloud_event import render
from coordinator.domain.errors import PublishFailed
from coordinator.domain.transaction import OutboxEvent


class MemoryPublisher:
    """Keeps what was published. Implements `coordinator.ports.Publisher`.

    published  the CloudEvents in the order they came, by event ID; a repeat changes nothing
    available  whether the broker takes anything
    """

    def __init__(self) -> None:
        self.published: dict[str, bytes] = {}
        self.available = True

    async def publish(self, event: OutboxEvent) -> None:
        """Keeps the event. Raises PublishFailed while not `available`."""
        if not self.available:
            raise PublishFailed("the broker is not available; the event will be offered again")
        self.published.setdefault(event.id, render(event))
