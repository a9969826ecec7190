"""A coordinator process whose participants answer at once, in process: only Kessai is measured.

Reads its settings from the environment like `kessai serve`; prints its address when it serves.
With `BENCH_WIRE` (single or stream) participants are those that `KESSAI_PARTICIPANTS` names, asked
by single calls or over one stream each. `BENCH_DELAY_S` makes every participant in process take
that long; with `BENCH_HANG` each payment meets one that never answers, a third of them at the
card's Try, a third at its Confirm, and a third at the Confirms after it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import signal
import sys
import threading
from datetime import datetime

import uvloop

from adapters.participant_grpc import GrpcParticipant
from adapters.postgres.store import PostgresStore
from adapters.sealing import Sealer
from adapters.system import SystemClock, SystemIds, SystemRandomness
from benchmarks.load import DECLINED_CARD
from coordinator.bootstrap import assemble, checked_flows, server_of, settle_memory
from coordinator.config import Settings, load
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Applied, Outcome, Refused
from coordinator.domain.phase import Operation
from coordinator.ports import Participant
from coordinator.telemetry import LogObserver, configure_logs
from coordinator.world import World

APPLIED = Applied()
DECLINED = Refused("CARD_DECLINED", "The card was declined by its bank.")

TICK_S = 0.05
"""Calls of one participant that begin within this time are answered together, in seconds."""


class InProcess:
    """Says yes to everything but one card, after `delay_s` seconds.

    A call under way is one future, the least that any adapter awaits: with a timer for each, the
    stand-in's own memory would be billed to the payments.
    """

    def __init__(self, delay_s: float, *, hangs: bool) -> None:
        self._delay_s = delay_s
        self._hangs = hangs
        self._tick: list[asyncio.Future[None]] = []
        self._tick_ends = 0.0

    async def perform(
        self, transaction_id: TransactionId, call: Call, _hold_until: datetime
    ) -> Outcome:
        """See `Participant.perform`."""
        if self._hangs and hangs_at(transaction_id, call):
            await asyncio.get_running_loop().create_future()
        if self._delay_s:
            await self._slowly()
        if call.step.source == DECLINED_CARD and call.operation is Operation.TRY:
            return DECLINED
        return APPLIED

    def _slowly(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._tick_ends:
            self._tick, self._tick_ends = [], loop.time() + TICK_S
            loop.call_later(self._delay_s, self._answer, self._tick)
        future: asyncio.Future[None] = loop.create_future()
        self._tick.append(future)
        return future

    def _answer(self, calls: list[asyncio.Future[None]]) -> None:
        if calls is self._tick:  # a short delay: nobody may join any more
            self._tick_ends = 0.0
        for call in calls:
            if not call.done():
                call.set_result(None)


def hangs_at(transaction_id: TransactionId, call: Call) -> bool:
    """Whether this is the call that its payment hangs at, with `BENCH_HANG`."""
    place = int(transaction_id[-4:], 16) % 3
    card = call.phase.name == "card_charge"
    match call.operation:
        case Operation.TRY:
            return card and place == 0
        case Operation.CONFIRM:
            return place == (1 if card else 2)
    return False


def usage(in_flight: int) -> str:
    """CPU and memory of this process, as JSON."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - not a file to keep
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return json.dumps(
        {
            "cpu_s": used.ru_utime + used.ru_stime,
            "rss": resident,
            "threads": threading.active_count(),
            "in_flight": in_flight,
        }
    )


async def main(settings: Settings, delay_s: float, wire: str, *, hangs: bool) -> None:
    """Serves until SIGTERM; every line on stdin is answered by a line of usage."""
    keys = [base64.b64decode(key.get_secret_value()) for key in settings.seal_keys]
    url = settings.database_url.get_secret_value()
    ids = SystemIds()
    owner = ids.transaction_id()
    store = PostgresStore(url, owner=owner, sealer=Sealer(keys), lease_s=settings.lease_s)
    await store.start()
    participants: dict[str, Participant] = (
        {
            name: GrpcParticipant(address, streams=wire == "stream")
            for name, address in settings.participants.items()
        }
        if wire
        else dict.fromkeys(("points", "card", "merchant"), InProcess(delay_s, hangs=hangs))
    )
    world = World(
        store=store,
        participants=participants,
        publisher=None,
        clock=SystemClock(),
        ids=ids,
        randomness=SystemRandomness(),
        observer=LogObserver(),
    )
    coordinator = assemble(world, settings, flows=checked_flows(settings), owner=owner)
    server = server_of(coordinator, settings)
    await server.start()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_reader(
        sys.stdin.fileno(),
        lambda: sys.stdin.readline() and print(usage(coordinator.gate.calls), flush=True),
    )
    background = [asyncio.create_task(service.run()) for service in coordinator.services]
    print(server.address, flush=True)
    await stopping.wait()
    for task in background:
        task.cancel()
    await server.stop()
    await coordinator.driver.drain(1.0)
    await store.close()


if __name__ == "__main__":
    configured = load()
    configure_logs(configured.log_format, "warning")
    delay = os.environ.get("BENCH_DELAY_S", "0")  # noqa: TID251 - a script of its own
    hang = "BENCH_HANG" in os.environ  # noqa: TID251 - a script of its own
    settle_memory()
    over = os.environ.get("BENCH_WIRE", "")  # noqa: TID251 - a script of its own
    uvloop.run(main(configured, float(delay), over, hangs=hang))
