"""How one stream of questions is shared out: nobody waits for somebody else's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from kessai.participant.v1 import participant_pb2 as pb

from participants.errors import RequestLost
from participants.fence import Request
from participants.performing import MAX_TRANSACTIONS, Conversation

HOUR_S = 3_600.0
LIMIT_S = 10.0
QUICK = "quick"


class Performer:
    """Keeps back every answer but one, by itself or by letting the conversation do it."""

    def __init__(self, *, together: bool) -> None:
        self._together = together
        self.begun = asyncio.Semaphore(0)

    async def perform_alone(self, request: Request) -> pb.Answer:
        self.begun.release()
        if self.keeps_back_s(request):
            await asyncio.Event().wait()
        return pb.Answer(transaction_id=request.transaction_id)

    async def perform_together(self, requests: Sequence[Request]) -> Sequence[pb.Answer]:
        if not self._together:
            raise RequestLost("not together")
        self.begun.release()
        return [pb.Answer(transaction_id=each.transaction_id) for each in requests]

    def check(self, request: Request) -> None:
        """Everything is well formed."""

    def takes_long(self, _request: Request) -> bool:
        return False

    def keeps_back_s(self, request: Request) -> float:
        return 0.0 if request.transaction_id == QUICK else HOUR_S


@pytest.mark.parametrize("together", [True, False])
def test_answers_that_are_kept_back_hold_up_no_other_question(together: bool) -> None:
    names = [f"slow-{number}" for number in range(2 * MAX_TRANSACTIONS)] + [QUICK]

    async def one_by_one(performer: Performer) -> AsyncIterator[pb.PerformRequest]:
        for number, name in enumerate(names):
            query = pb.QueryRequest(transaction_id=name)
            yield pb.PerformRequest(asks=[pb.Ask(number=number, query=query)])
            await performer.begun.acquire()  # the next one would be done together with it
        await asyncio.Event().wait()

    async def scenario() -> str:
        first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def write(response: pb.PerformResponse) -> None:
            first.set_result(response.replies[0].answer.transaction_id)

        performer = Performer(together=together)
        conversation = Conversation(performer, write)
        work = asyncio.create_task(conversation.perform(one_by_one(performer), asyncio.Event()))
        try:
            return await asyncio.wait_for(first, LIMIT_S)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    assert asyncio.run(scenario()) == QUICK
