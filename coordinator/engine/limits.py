"""What each caller may ask for: how large a payment, how many live ones, how many a second.

All of it is looked at before anything is committed, so that a refusal writes nothing. The rate is
kept in this process's memory, the live payments are counted in the database.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from coordinator.domain.errors import RateLimited, TooManyLive
from coordinator.domain.record import Record
from coordinator.ports import Clock, Store

EVERYBODY = "*"
"""The entry of all callers that have none of their own."""
_ROUNDING = 1e-9
"""A token that is this near to whole is whole: the sum of many small refills is never exact."""


class CallerLimits(Record, frozen=True):
    """One caller's limits; None does not limit.

    max_amount_minor  largest payment, in minor units of its currency
    max_live          payments that are not settled, at once
    per_second        new payments a second, in each process
    """

    max_amount_minor: int | None = None
    max_live: int | None = None
    per_second: float | None = None


_UNLIMITED = CallerLimits()


class TokenBucket:
    """A rate with a burst of one second's worth, at least one. It starts full.

    One event loop uses it, and nothing in it waits: it needs no lock.
    """

    def __init__(self, per_second: float, now: datetime) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._tokens = self._burst
        self._at = now

    def take(self, now: datetime) -> float:
        """Takes a token and returns 0; without one, how long until there is one, in seconds.

        A clock that is set back refills nothing, and does not stop later refills.
        """
        passed_s = max(0.0, (now - self._at).total_seconds())
        self._at = now
        self._tokens = min(self._burst, self._tokens + passed_s * self._per_second)
        if self._tokens >= 1.0 - _ROUNDING:
            self._tokens = max(0.0, self._tokens - 1.0)
            return 0.0
        # Up to whole milliseconds: whoever waits exactly as long as told finds a whole token.
        return math.ceil((1.0 - self._tokens) / self._per_second * 1000) / 1000


class Limits:
    """The limits by caller name; `EVERYBODY` is for all who have no entry.

    An entry stands alone: what it leaves out is not taken from that of `EVERYBODY`.
    """

    def __init__(
        self, by_caller: Mapping[str, CallerLimits], *, store: Store, clock: Clock
    ) -> None:
        self._by_caller = by_caller
        self._store = store
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}

    def largest_minor(self, caller: str, bound: int) -> int:
        """The caller's largest payment in minor units; `bound` is the largest of anybody."""
        own = self._of(caller).max_amount_minor
        return bound if own is None else min(own, bound)

    async def admit(self, caller: str) -> None:
        """Returns when the caller may create one more payment, and counts it into the rate.

        Live payments are counted, not reserved: creations at the same instant see the same count
        and may pass together, so that there can be more live payments than the limit by as many
        as were in flight. A lock would make every creation of a caller wait for the one before.

        Raises RateLimited, TooManyLive, StoreUnavailable.
        """
        limits = self._of(caller)
        # The rate first: it costs nothing, and so keeps a flood from counting.
        if limits.per_second is not None:
            self._take(caller, limits.per_second)
        if limits.max_live is not None:
            live = await self._store.count_live(caller, at_most=limits.max_live)
            if live >= limits.max_live:
                raise TooManyLive(limits.max_live)

    def _of(self, caller: str) -> CallerLimits:
        return self._by_caller.get(caller) or self._by_caller.get(EVERYBODY, _UNLIMITED)

    def _take(self, caller: str, per_second: float) -> None:
        now = self._clock.now()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = TokenBucket(per_second, now)
        if retry_after_s := bucket.take(now):
            raise RateLimited(per_second, retry_after_s)
