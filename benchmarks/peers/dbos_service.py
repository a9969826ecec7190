"""A payment as a DBOS workflow, and its load, in one process: DBOS is a library.

    python -m benchmarks.peers.dbos_service URL

Runs in the peers' environment. Its callers are coroutines of the same process, so that no front
costs it anything. Says `ready`; answers each line `IN_FLIGHT SECONDS` on stdin with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop
from dbos import DBOS, DBOSConfig

from benchmarks.peers.closed_loop import closed_loop

Order = dict[str, int | str]
ORDER: Order = {"merchant": "shop-1", "amount": 1000, "points": 600, "card": 400}


@DBOS.step()
async def ask(participant: str, operation: str, order: Order) -> str:
    """A participant's answer, which comes at once."""
    return f"{participant} {operation} {order['merchant']}"


@DBOS.workflow()
async def pay(order: Order) -> str:
    """Six calls, each a durable step; those that need not wait for each other run together."""
    tries = [ask(name, "try", order) for name in ("points", "card", "merchant")]
    await asyncio.gather(*tries)
    await ask("card", "confirm", order)
    confirms = [ask(name, "confirm", order) for name in ("points", "merchant")]
    await asyncio.gather(*confirms)
    return "PAID"


async def main(url: str) -> None:
    """Serves until stdin ends."""
    config: DBOSConfig = {
        "name": "payments",
        "system_database_url": url,
        "log_level": "WARNING",
        # What made most payments on two cores: threads wait for each other in the interpreter
        # (without a bound, its own setting, three quarters as many), and to ask a connection
        # whether it lives before each use is a round trip. 20 connections are its own number.
        "max_executor_threads": 4,
        "sys_db_pool_size": 20,
        "db_engine_kwargs": {"pool_pre_ping": False},
    }
    DBOS(config=config)
    DBOS.launch()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        in_flight, seconds = line.split()
        found = await closed_loop(lambda: pay(ORDER), int(in_flight), float(seconds))
        print(json.dumps(found), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
