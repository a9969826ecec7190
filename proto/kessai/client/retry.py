"""When a call is repeated, and how long is waited before: decisions, no clock and no channel.

Only what the error itself calls repeatable is repeated: UNAVAILABLE, and whatever carries
RetryInfo. A call whose answer did not come in time is not: the caller asks again, with the same
key, when it wants to.
"""

from __future__ import annotations

from dataclasses import dataclass

from kessai.client.errors import KessaiError

LEAST_S = 0.2
"""A repeat that would have less time than this is not sent: the server refuses what is too near."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a client repeats.

    max_attempts   how often a call is sent at most, in a row without success
    backoff_s      the longest wait before the first repeat, in seconds; it doubles each time
    backoff_cap_s  and never gets longer than this

    Raises ValueError for what makes no sense.
    """

    max_attempts: int = 20
    backoff_s: float = 0.2
    backoff_cap_s: float = 2.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError("max_attempts must be at least 1")
        if not 0 < self.backoff_s <= self.backoff_cap_s:
            raise ValueError("backoff_s must be above 0 and at most backoff_cap_s")

    def wait_s(self, error: KessaiError, attempt: int, chance: float) -> float | None:
        """How long to wait after this attempt (1, 2 …), in seconds; None: it is not repeated.

        At least what the server asks for, then up to a whole backoff more; without a word of it
        half a backoff, then up to half a one more. `chance` in [0, 1) chooses, so that callers who
        failed together do not come back together.
        """
        if not error.retryable or attempt >= self.max_attempts:
            return None
        backoff_s: float = min(self.backoff_cap_s, self.backoff_s * 2.0 ** (attempt - 1))
        if error.retry_after_s is None:
            return backoff_s * (0.5 + 0.5 * chance)
        return error.retry_after_s + backoff_s * chance


NO_RETRY = RetryPolicy(max_attempts=1)
"""Sends every call once."""


class Attempts:
    """The attempts of one call, which all share one deadline.

    `deadline_s` is on the clock that every `now_s` is read from; None: there is no deadline.
    """

    def __init__(self, policy: RetryPolicy, deadline_s: float | None) -> None:
        self._policy = policy
        self._deadline_s = deadline_s
        self._failed = 0

    def left_s(self, now_s: float) -> float | None:
        """How long the next attempt may take, in seconds; None: as long as it likes."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - now_s)

    def wait_s(self, error: KessaiError, now_s: float, chance: float) -> float | None:
        """How long to wait before the next attempt, in seconds; None: there is none."""
        self._failed += 1
        wait_s = self._policy.wait_s(error, self._failed, chance)
        left_s = self.left_s(now_s)
        if wait_s is not None and left_s is not None and wait_s + LEAST_S > left_s:
            return None
        return wait_s

    def succeeded(self) -> None:
        """Something came through: the next failure is the first of its row."""
        self._failed = 0
