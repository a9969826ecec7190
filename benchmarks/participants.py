"""The participants as a process of their own, which remember in memory: the wire is measured.

They say what a fence says and keep every answer, so that a repeat gets it; their books are no part
of what is measured. Prints the address of each, in one line of JSON; a line on stdin is answered by
the CPU seconds used so far.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import structlog
import uvloop
from kessai.participant.v1 import participant_pb2 as pb

from participants.fence import Fence, Request
from participants.server import serve_until
from participants.service import ParticipantService

NAMES = ("points", "card", "merchant")
_SAYS: dict[type[Any], pb.Status] = {
    pb.TryRequest: pb.STATUS_HELD,
    pb.ConfirmRequest: pb.STATUS_CONFIRMED,
    pb.CancelRequest: pb.STATUS_CANCELLED,
    pb.QueryRequest: pb.STATUS_HELD,
}


class MemoryFence:
    """Says yes to everything, the same to the same."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, type[Any]], pb.Answer] = {}

    def answer(self, request: Request) -> pb.Answer:
        """The first answer to this."""
        key = (request.transaction_id, request.phase, type(request))
        known = self._answers.get(key)
        if known is None:
            known = pb.Answer(
                transaction_id=request.transaction_id,
                phase=request.phase,
                status=_SAYS[type(request)],
                amount=getattr(request, "amount", None),
            )
            self._answers[key] = known
        return known

    def answer_together(self, requests: Sequence[Request]) -> list[pb.Answer]:
        """See `Fence`."""
        return [self.answer(request) for request in requests]

    def try_(self, request: pb.TryRequest) -> pb.TryResponse:
        """See `Fence`."""
        return pb.TryResponse(answer=self.answer(request))

    def confirm(self, request: pb.ConfirmRequest) -> pb.ConfirmResponse:
        """See `Fence`."""
        return pb.ConfirmResponse(answer=self.answer(request))

    def cancel(self, request: pb.CancelRequest) -> pb.CancelResponse:
        """See `Fence`."""
        return pb.CancelResponse(answer=self.answer(request))

    def query(self, request: pb.QueryRequest) -> pb.QueryResponse:
        """See `Fence`."""
        return pb.QueryResponse(answer=self.answer(request))


class InLoop(ParticipantService):
    """Asks its fence without a thread: it has no database to wait for."""

    async def _in_thread(self, work: Callable[[Any], Any], asked: Any) -> Any:
        return work(asked)


async def main() -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    addresses: dict[str, str] = {}

    def ready(name: str, address: str) -> None:
        addresses[name] = address
        if len(addresses) == len(NAMES):
            print(json.dumps(addresses), flush=True)

    loop.add_reader(
        sys.stdin.fileno(), lambda: sys.stdin.readline() and print(_cpu_s(), flush=True)
    )
    with ThreadPoolExecutor(1) as nobody:
        await asyncio.gather(
            *(
                serve_until(
                    stop,
                    InLoop(cast("Fence", MemoryFence()), nobody),
                    listen="127.0.0.1:0",
                    on_ready=lambda address, name=name: ready(name, address),  # type: ignore[misc]
                )
                for name in NAMES
            )
        )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    uvloop.run(main())
