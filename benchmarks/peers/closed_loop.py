"""So many payments in flight, for so long: what a peer's load is made of. Standard library alone.

Runs in the peers' own environment, which has none of Kessai's dependencies.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

TIMEOUT_S = 30.0
"""How long a caller waits for its payment, in seconds, as Kessai's load generator does."""


async def closed_loop(
    pay: Callable[[], Awaitable[str]], in_flight: int, seconds: float
) -> dict[str, Any]:
    """Payments by state (a failure by its name), seconds, and latencies in milliseconds."""
    states: Counter[str] = Counter()
    latencies: list[float] = []
    began = time.perf_counter()
    end = began + seconds

    async def worker() -> None:
        while (start := time.perf_counter()) < end:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    states[await pay()] += 1
            except Exception as error:  # noqa: BLE001 - whatever a peer fails with is counted
                states[type(error).__name__] += 1
            latencies.append((time.perf_counter() - start) * 1000)

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    elapsed = time.perf_counter() - began
    latencies.sort()
    return {
        "states": states,
        "seconds": elapsed,
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[len(latencies) * 99 // 100],
    }
