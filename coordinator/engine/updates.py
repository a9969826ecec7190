"""Tells those who wait in this process what was committed, and lets them wait for it.

A payment that this process does not drive is not announced here; it is read again every `POLL_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

from coordinator.domain.ids import TransactionId
from coordinator.domain.transaction import Transaction
from coordinator.ports import Store

POLL_S = 0.25
"""How often a payment that is driven elsewhere is read again, in seconds."""


class _Subscription:
    """One waiter's view: the newest version it was told of.

    `to_the_end`: it waits for the end, and need not be woken before.
    """

    __slots__ = ("latest", "to_the_end", "woken")

    def __init__(self, *, to_the_end: bool) -> None:
        self.latest: Transaction | None = None
        self.to_the_end = to_the_end
        self.woken = asyncio.Event()

    def tell(self, transaction: Transaction) -> None:
        if self.latest is None or transaction.version > self.latest.version:
            self.latest = transaction
            if transaction.settled or not self.to_the_end:
                self.woken.set()


class Updates:
    """Committed changes by transaction.

    `known_here` gives the newest committed version of a transaction that this process drives, and
    None for one that it does not drive.
    """

    def __init__(
        self, store: Store, known_here: Callable[[TransactionId], Transaction | None]
    ) -> None:
        self._store = store
        self._known_here = known_here
        self._waiting: dict[TransactionId, list[_Subscription]] = {}

    def publish(self, transaction: Transaction) -> None:
        """Wakes whoever waits for this transaction."""
        for subscription in self._waiting.get(transaction.id, ()):
            subscription.tell(transaction)

    def no_longer_driven(self, transaction_id: TransactionId) -> None:
        """Wakes whoever waits for this transaction, to read it from now on."""
        for subscription in self._waiting.get(transaction_id, ()):
            subscription.woken.set()

    async def settled(self, transaction: Transaction, wait_s: float) -> Transaction:
        """The transaction once it is settled, or as it durably stands after `wait_s` seconds."""
        latest = transaction
        with self._subscribed(transaction.id, to_the_end=True) as subscription:
            try:
                async with asyncio.timeout(max(wait_s, 0.0)):
                    if not latest.settled:
                        latest = await self._current(latest)
                    while not latest.settled:
                        latest = await self._next(subscription, latest)
            except TimeoutError:
                pass
            return subscription.latest or latest

    async def follow(self, transaction: Transaction) -> AsyncGenerator[Transaction]:
        """The transaction as given, then after every change that is seen, until it is settled.

        Versions only grow. Close the iterator (or finish it) to stop waiting.
        """
        latest = transaction
        with self._subscribed(transaction.id, to_the_end=False) as subscription:
            if not latest.settled:
                latest = await self._current(latest)
            yield latest
            while not latest.settled:
                newer = await self._next(subscription, latest)
                if newer.version > latest.version:
                    latest = newer
                    yield latest

    @contextmanager
    def _subscribed(
        self, transaction_id: TransactionId, *, to_the_end: bool
    ) -> Iterator[_Subscription]:
        subscription = _Subscription(to_the_end=to_the_end)
        waiting = self._waiting.setdefault(transaction_id, [])
        waiting.append(subscription)
        try:
            yield subscription
        finally:
            waiting.remove(subscription)
            if not waiting:
                self._waiting.pop(transaction_id, None)

    async def _current(self, latest: Transaction) -> Transaction:
        """Whatever was committed before the subscription stood."""
        return self._known_here(latest.id) or await self._reread(latest)

    async def _next(self, subscription: _Subscription, latest: Transaction) -> Transaction:
        try:
            async with asyncio.timeout(None if self._known_here(latest.id) else POLL_S):
                await subscription.woken.wait()
        except TimeoutError:
            return await self._reread(latest)
        subscription.woken.clear()
        return subscription.latest or latest

    async def _reread(self, latest: Transaction) -> Transaction:
        return await self._store.get(latest.id) or latest
