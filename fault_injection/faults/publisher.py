"""A broker that fails now and then; what it took and did not say is offered again."""

from __future__ import annotations

from coordinator.domain.errors import PublishFailed
from coordinator.domain.transaction import OutboxEvent
from coordinator.ports import Publisher
from fault_injection.faults import kinds
from fault_injection.faults.injection import INJECTED, Injection
from fault_injection.faults.kinds import Area


class FaultyPublisher:
    """A `Publisher` in front of another one."""

    def __init__(self, publisher: Publisher, injection: Injection) -> None:
        self._publisher = publisher
        self._injection = injection

    async def publish(self, event: OutboxEvent) -> None:
        """See `Publisher.publish`."""
        rule = self._injection.strikes(
            Area.PUBLISHER, transaction_id=event.transaction_id, flow=event.flow
        )
        kind = rule.kind.name if rule else ""
        if kind in {kinds.REQUEST_LOST, kinds.BROKER_AWAY}:
            raise PublishFailed(INJECTED)
        await self._publisher.publish(event)
        if kind == kinds.REPLY_LOST:
            raise PublishFailed(INJECTED)
        if kind == kinds.SLOW:
            assert rule is not None
            assert rule.duration_s is not None, "what is slow has a delay"
            await self._injection.clock.sleep(rule.duration_s)
