"""A store that fails now and then: before anything was written, or after all of it was.

What is remembered of the flows that transactions follow, for rules that ask, comes from here: a
process sees a transaction in its store before it calls anybody about it.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Sequence
from typing import Any, TypeVar

from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.ids import TransactionId
from coordinator.domain.transaction import Change, JournalEntry, OutboxEvent, Transaction
from coordinator.ports import (
    Census,
    Claim,
    CommitResult,
    Pause,
    PaymentQuery,
    Store,
    TransactionQuery,
)
from fault_injection.faults import kinds
from fault_injection.faults.injection import INJECTED, Injection
from fault_injection.faults.kinds import COMMIT_METHOD, Area

T = TypeVar("T")


class FaultyStore:
    """A `Store` in front of another one."""

    def __init__(self, store: Store, injection: Injection) -> None:
        self._store = store
        self._injection = injection

    async def _asked(
        self,
        method: str,
        work: Coroutine[Any, Any, T],
        transaction_id: TransactionId | None = None,
    ) -> T:
        """Does the work unless it is to fail before it. Raises StoreUnavailable."""
        rule = self._injection.strikes(Area.STORE, method, transaction_id=transaction_id)
        kind = rule.kind.name if rule else ""
        if kind in {kinds.DATABASE_AWAY, kinds.COMMIT_FAILED}:
            work.close()
            raise StoreUnavailable(INJECTED)
        result = await work
        if kind == kinds.COMMIT_UNHEARD:
            raise StoreUnavailable(INJECTED)
        if kind == kinds.SLOW:
            assert rule is not None
            assert rule.duration_s is not None, "what is slow has a delay"
            await self._injection.clock.sleep(rule.duration_s)
        return result

    async def commit(self, change: Change) -> CommitResult:
        """See `Store.commit`."""
        self._injection.remember([change.after])
        return await self._asked(COMMIT_METHOD, self._store.commit(change), change.after.id)

    async def get(self, transaction_id: TransactionId) -> Transaction | None:
        """See `Store.get`."""
        found = await self._asked("get", self._store.get(transaction_id))
        self._injection.remember([found] if found else [])
        return found

    async def claim_due(
        self, limit: int, flows: Collection[str] | None = None
    ) -> Sequence[Transaction]:
        """See `Store.claim_due`."""
        claimed = await self._asked("claim_due", self._store.claim_due(limit, flows))
        self._injection.remember(claimed)
        return claimed

    async def find_by_key(self, caller: str, idempotency_key: str) -> Transaction | None:
        """See `Store.find_by_key`."""
        return await self._asked("find_by_key", self._store.find_by_key(caller, idempotency_key))

    async def count_live(self, caller: str, at_most: int) -> int:
        """See `Store.count_live`."""
        return await self._asked("count_live", self._store.count_live(caller, at_most))

    async def refunds_of(self, payment_id: TransactionId) -> Sequence[Transaction]:
        """See `Store.refunds_of`."""
        return await self._asked("refunds_of", self._store.refunds_of(payment_id))

    async def list_payments(self, query: PaymentQuery) -> Sequence[Transaction]:
        """See `Store.list_payments`."""
        return await self._asked("list_payments", self._store.list_payments(query))

    async def journal(
        self, transaction_id: TransactionId, after: int, limit: int
    ) -> Sequence[JournalEntry]:
        """See `Store.journal`."""
        return await self._asked("journal", self._store.journal(transaction_id, after, limit))

    async def renew_claims(self, ids: Sequence[TransactionId]) -> frozenset[TransactionId]:
        """See `Store.renew_claims`."""
        return await self._asked("renew_claims", self._store.renew_claims(ids))

    async def release_claims(self) -> int:
        """See `Store.release_claims`."""
        return await self._asked("release_claims", self._store.release_claims())

    async def claim_of(self, transaction_id: TransactionId) -> Claim | None:
        """See `Store.claim_of`."""
        return await self._asked("claim_of", self._store.claim_of(transaction_id))

    async def search(self, query: TransactionQuery) -> Sequence[Transaction]:
        """See `Store.search`."""
        return await self._asked("search", self._store.search(query))

    async def count(self, query: TransactionQuery, at_most: int) -> int:
        """See `Store.count`."""
        return await self._asked("count", self._store.count(query, at_most))

    async def census(self) -> Census:
        """See `Store.census`."""
        return await self._asked("census", self._store.census())

    async def pauses(self) -> Sequence[Pause]:
        """See `Store.pauses`."""
        return await self._asked("pauses", self._store.pauses())

    async def pause(self, pause: Pause) -> None:
        """See `Store.pause`."""
        return await self._asked("pause", self._store.pause(pause))

    async def unpause(self, flow: str) -> bool:
        """See `Store.unpause`."""
        return await self._asked("unpause", self._store.unpause(flow))

    async def claim_events(self, limit: int, lease_s: float) -> Sequence[OutboxEvent]:
        """See `Store.claim_events`."""
        return await self._asked("claim_events", self._store.claim_events(limit, lease_s))

    async def mark_published(self, events: Sequence[OutboxEvent]) -> None:
        """See `Store.mark_published`."""
        return await self._asked("mark_published", self._store.mark_published(events))

    async def ping(self) -> None:
        """See `Store.ping`."""
        return await self._asked("ping", self._store.ping())
