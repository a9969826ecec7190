"""A closed-loop HTTP client of Restate's ingress, in a process of its own.

    python -m benchmarks.peers.http_load URL IN_FLIGHT SECONDS

Runs in the peers' environment. Prints one line of JSON, as `benchmarks.load` does for Kessai.
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
import uvloop

from benchmarks.peers.closed_loop import closed_loop

ORDER = {"merchant": "shop-1", "amount": 1000, "points": 600, "card": 400}
OK = 200


async def main(url: str, in_flight: int, seconds: float) -> None:
    """Runs the load and prints the result."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def pay() -> str:
            async with session.post(url, json=ORDER) as response:
                answer = await response.json()
                return str(answer) if response.status == OK else f"HTTP {response.status}"

        # Its connections are there before the clock starts: callers keep theirs.
        await asyncio.gather(*(pay() for _ in range(in_flight)))
        print(json.dumps(await closed_loop(pay, in_flight, seconds)), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
