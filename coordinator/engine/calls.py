"""Makes the calls that were decided, all at once, and brings what came back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from coordinator.domain.decide import Call
from coordinator.domain.outcome import Outcome, Refused, Unknown
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import Result, Transaction
from coordinator.ports import Observer, Participant, Randomness


class Calls:
    """The way to the participants, by their names."""

    def __init__(
        self,
        participants: Mapping[str, Participant],
        *,
        randomness: Randomness,
        observer: Observer,
    ) -> None:
        self._participants = participants
        self._randomness = randomness
        self._observer = observer

    async def perform(self, transaction: Transaction, calls: Sequence[Call]) -> list[Result]:
        """The results of all calls, in their order.

        Once a Try is refused the others are not waited for: the payment is going to be released,
        and the payer is told at once. They were sent, so they count as unknown.
        """
        if len(calls) == 1:
            return [await self._call(transaction, calls[0])]
        tasks = [
            asyncio.create_task(self._call(transaction, call), name=transaction.id)
            for call in calls
        ]
        enough = asyncio.get_running_loop().create_future()
        left = len(tasks)

        def ended(task: asyncio.Task[Result]) -> None:
            nonlocal left
            left -= 1
            refused = not task.cancelled() and _refused_try(task.result())
            if (refused or not left) and not enough.done():
                enough.set_result(None)

        for task in tasks:
            task.add_done_callback(ended)
        try:
            await enough
            return [
                task.result() if task.done() else _abandoned(call)
                for task, call in zip(tasks, calls, strict=True)
            ]
        finally:
            for task in tasks:
                task.cancel()

    async def _call(self, transaction: Transaction, call: Call) -> Result:
        participant = self._participants[call.phase.participant]
        outcome: Outcome
        try:
            outcome = await participant.perform(transaction.id, call, transaction.reserved_until)
        except Exception as error:  # noqa: BLE001 - whatever it raises, money may have moved
            self._observer.troubled(f"adapter {call.phase.participant}", error, transaction.id)
            outcome = Unknown("ADAPTER_ERROR", type(error).__name__)
        return Result(call.phase.name, call.operation, outcome, self._randomness.draw())


def _refused_try(result: Result) -> bool:
    return result.operation is Operation.TRY and isinstance(result.outcome, Refused)


def _abandoned(call: Call) -> Result:
    return Result(
        call.phase.name, call.operation, Unknown("ABANDONED", "another step was refused first")
    )
