"""The card tokens that answer late or never in time.

Whatever waits here is a task of the event loop: it holds no thread and no connection, so slow
tokens take nothing away from other payments. What has been seen is kept in memory: after a restart
a payment's first Try is a first Try again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor

from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.card import Card
from participants.card_tokens import CardToken, read_token
from participants.errors import RequestLost
from participants.fence import Fence, Request
from participants.service import ParticipantService

_SLOW_BEFORE = frozenset({CardToken.LATE_TRY, CardToken.TIMEOUT_BEFORE_TRY})
_SEEN_LIMIT = 10_000
_LATE_LIMIT = 1_000


class CardService(ParticipantService):
    """The card service with its slow test tokens.

    slow_reply_s  how long the `tok_timeout_…` tokens keep their answer back, in seconds
    late_try_s    after how long a Try of `tok_late_try` reaches the fence, in seconds
    """

    def __init__(
        self,
        fence: Fence,
        executor: Executor,
        card: Card,
        *,
        slow_reply_s: float,
        late_try_s: float,
    ) -> None:
        super().__init__(fence, executor)
        self._card = card
        self._slow_reply_s = slow_reply_s
        self._late_try_s = late_try_s
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._late: set[asyncio.Task[pb.TryResponse]] = set()

    async def perform_try(self, request: pb.TryRequest) -> pb.TryResponse:
        """As its token wants. Raises RequestLost for one that is lost before its effect."""
        token = read_token(request.account)
        if token is CardToken.LATE_TRY:
            return await self._try_late(request)
        if token is CardToken.TIMEOUT_BEFORE_TRY and self._is_first(request):
            await world.sleep(self._slow_reply_s)
            raise RequestLost("this test token loses a payment's first Try")
        response = await super().perform_try(request)
        await self._keep_back(request)
        return response

    async def perform_confirm(self, request: pb.ConfirmRequest) -> pb.ConfirmResponse:
        """As the token of its Try wants."""
        response = await super().perform_confirm(request)
        await self._keep_back(request)
        return response

    def takes_long(self, request: Request) -> bool:
        """Whether its token keeps it back before anything is done."""
        return isinstance(request, pb.TryRequest) and read_token(request.account) in _SLOW_BEFORE

    def keeps_back_s(self, request: Request) -> float:
        """As the token of its Try wants."""
        late = self._card.takes_late_answer(request.transaction_id, request.phase)
        return self._slow_reply_s if late else 0.0

    async def close(self) -> None:
        """Forgets the Trys that are still on their way, as a network would."""
        late = tuple(self._late)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _try_late(self, request: pb.TryRequest) -> pb.TryResponse:
        """Goes on without the caller: a request on its way is not called back by a timeout."""
        if len(self._late) >= _LATE_LIMIT:
            raise RequestLost("too many Trys are on their way")
        task = asyncio.create_task(self._late_try(request))
        self._late.add(task)
        task.add_done_callback(self._arrived)
        return await asyncio.shield(task)

    async def _late_try(self, request: pb.TryRequest) -> pb.TryResponse:
        await world.sleep(self._late_try_s)
        return await super().perform_try(request)

    def _arrived(self, task: asyncio.Task[pb.TryResponse]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio complains where the caller has gone

    async def _keep_back(self, request: pb.TryRequest | pb.ConfirmRequest) -> None:
        if wait_s := self.keeps_back_s(request):
            await world.sleep(wait_s)

    def _is_first(self, request: pb.TryRequest) -> bool:
        key = (request.transaction_id, request.phase)
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _SEEN_LIMIT:
            self._seen.popitem(last=False)
        return True
