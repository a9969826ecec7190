"""How long to wait before asking again. Policies are data; the coordinator alone retries."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_S = 30 * 86_400
"""No wait that is configured may be longer, in seconds: NaN and infinity are refused with it."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with a cap and jitter.

    attempts   after this many attempts of one operation the transaction is flagged for attention;
               it is still retried (giving up is never the answer once money may have moved)
    base_s     wait before the second attempt, in seconds; doubles from attempt to attempt
    cap_s      longest wait, in seconds
    jitter     0..1: this share of every wait is random
    timeout_s  how long one attempt may take, in seconds

    Raises ValueError when a value is out of range.
    """

    attempts: int = 10
    base_s: float = 0.1
    cap_s: float = 30.0
    jitter: float = 0.5
    timeout_s: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")
        if not 0 < self.base_s <= self.cap_s <= LONGEST_S:
            raise ValueError(f"base_s must be above 0, at most cap_s, and that at most {LONGEST_S}")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter must be in 0..1")
        if not 0 < self.timeout_s <= LONGEST_S:
            raise ValueError(f"timeout_s must be above 0 and at most {LONGEST_S}")

    def delay_s(self, attempt: int, draw: float) -> float:
        """Seconds to wait after attempt number `attempt` (1, 2, …); `draw` is uniform in 0..1."""
        doublings = min(attempt - 1, 32)
        full = min(self.cap_s, self.base_s * 2.0**doublings)
        return full * (1.0 - self.jitter * draw)
