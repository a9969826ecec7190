"""Bugs in participants' fences (the model's, the model check's and the real one), and in keys."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from coordinator.domain.decide import Call, Perform, decide
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Applied, Outcome, Unknown
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Change, Result, Transaction
from coordinator.engine import accept, calls, capture, drive, refund
from coordinator.ports import CommitResult
from fault_injection.model_participant import Held, Key, ModelParticipant
from participants import fence_table
from participants.fence import Fence
from participants.fence_table import FENCE
from tests.planted.bug import Layer, planted


@planted(
    "A participant does not remember a Cancel that came before its Try.",
    Layer.SINGLES,
    Layer.MODEL,
    Layer.SEEDS,
    Layer.FENCE,
    variant="no-tombstone",
)
def no_tombstones(patch: pytest.MonkeyPatch) -> None:
    cancel, real = ModelParticipant._cancel, Fence._cancel

    def forgetful(self: ModelParticipant, key: Key) -> Outcome:
        return cancel(self, key) if key in self.records else Applied()

    def forgetting(self: Fence, connection: sa.Connection, request: Any) -> bytes:
        row = fence_table.read(connection, uuid.UUID(request.transaction_id), request.phase)
        answer = real(self, connection, request)
        if row is None:
            its = FENCE.c.transaction_id == request.transaction_id
            connection.execute(sa.delete(FENCE).where(its, FENCE.c.phase == request.phase))
        return answer

    patch.setattr(ModelParticipant, "_cancel", forgetful)
    patch.setattr(Fence, "_cancel", forgetting)


@planted(
    "A participant confirms whatever it is asked to confirm, each time that it is asked.",
    Layer.SINGLES,
    Layer.SEEDS,
    Layer.FENCE,
)
def no_fence(patch: pytest.MonkeyPatch) -> None:
    confirm = Fence._confirm

    def careless(self: ModelParticipant, key: Key, call: Call, _fault: object) -> Outcome:
        self.records[key] = Held.CONFIRMED
        self.confirmed[key] = call.step.final.minor if call.step.final else 0
        self.effects[*key, Operation.CONFIRM] += 1
        return Applied()

    def again(self: Fence, connection: sa.Connection, request: Any) -> bytes:
        its = FENCE.c.transaction_id == request.transaction_id
        forget = sa.update(FENCE).where(its, FENCE.c.phase == request.phase)
        connection.execute(
            forget.where(FENCE.c.status == "CONFIRMED").values(
                status="HELD", confirm_answer=None, confirm_minor=None
            )
        )
        return confirm(self, connection, request)

    patch.setattr(ModelParticipant, "_confirm", careless)
    patch.setattr(Fence, "_confirm", again)


@planted(
    "The pivot's participant does not remember that it refused, and captures when asked again.",
    Layer.MODEL,
    variant="refusal-forgotten",
)
def refusal_forgotten(patch: pytest.MonkeyPatch) -> None:
    confirm = ModelParticipant._confirm

    def forgetful(self: ModelParticipant, key: Key, call: Call, fault: Any) -> Outcome:
        outcome = confirm(self, key, call, fault)
        self.refused_confirms.clear()
        return outcome

    patch.setattr(ModelParticipant, "_confirm", forgetful)


@planted(
    "A participant answers a Cancel whose Try it does not know with an error.",
    Layer.SINGLES,
    Layer.WINDOWS,
    Layer.MODEL,
    Layer.SEEDS,
    Layer.FENCE,
    variant="empty-cancel-fails",
)
def cancel_needs_a_try(patch: pytest.MonkeyPatch) -> None:
    cancel, real = ModelParticipant._cancel, Fence._cancel

    def strict(self: ModelParticipant, key: Key) -> Outcome:
        return cancel(self, key) if key in self.records else Unknown("NOT_FOUND")

    def failing(self: Fence, connection: sa.Connection, request: Any) -> bytes:
        row = fence_table.read(connection, uuid.UUID(request.transaction_id), request.phase)
        assert row is not None, "no such transaction"
        return real(self, connection, request)

    patch.setattr(ModelParticipant, "_cancel", strict)
    patch.setattr(Fence, "_cancel", failing)


@planted(
    "Each retry of a Try draws a new idempotency key.",
    Layer.SINGLES,
    Layer.WINDOWS,
    Layer.SEEDS,
)
def retry_with_a_new_key(patch: pytest.MonkeyPatch) -> None:
    call_ = calls.Calls._call

    async def anew(self: calls.Calls, transaction: Transaction, call: Call) -> Result:
        if call.operation is Operation.TRY and call.step.attempts:
            other = _other_id(transaction, f"{call.phase.name}/{call.step.attempts}")
            return await call_(self, evolve(transaction, id=other), call)
        return await call_(self, transaction, call)

    patch.setattr(calls.Calls, "_call", anew)


@planted(
    "The key of a charge lives in the process's memory: after a restart the card is charged anew.",
    Layer.CRASHES,
    Layer.SEEDS,
)
def pivot_confirmed_twice_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    call_ = calls.Calls._call
    known: dict[tuple[int, TransactionId], TransactionId] = {}

    async def charging(self: calls.Calls, transaction: Transaction, call: Call) -> Result:
        key = id(self), transaction.id
        if call.operation is Operation.TRY:
            known[key] = transaction.id
        if call.operation is Operation.CONFIRM and call.phase.confirm_refusable:
            if key not in known:
                known[key] = _other_id(transaction, f"{len(known)}")
                anew = evolve(call, operation=Operation.TRY)
                anew = evolve(anew, step=evolve(call.step, source=call.step.source or "kept"))
                await call_(self, evolve(transaction, id=known[key]), anew)
            return await call_(self, evolve(transaction, id=known[key]), call)
        return await call_(self, transaction, call)

    patch.setattr(calls.Calls, "_call", charging)


@planted(
    "The first Trys leave before the transaction's ID is durable, since they mostly succeed.",
    Layer.CRASHES,
    Layer.SEEDS,
    where="crash before commit 1",
)
def first_effect_before_the_id_is_durable(patch: pytest.MonkeyPatch) -> None:
    submit = drive.Driver.submit

    async def eager(self: drive.Driver, change: Change) -> CommitResult:
        after = change.after
        if not change.expected_version and after.refund_of is None:
            action = decide(after, self._flows[after.flow], self._clock.now())
            if isinstance(action, Perform):
                await self._calls.perform(after, action.calls)
        return await submit(self, change)

    patch.setattr(drive.Driver, "submit", eager)


def _other_id(transaction: Transaction, salt: str) -> TransactionId:
    return TransactionId(str(uuid.uuid5(uuid.UUID(transaction.id), salt)))


@planted(
    "A repeated idempotency key is answered without a look at the body.",
    Layer.UNIT,
    where="reused_key",
)
def key_compared_without_the_body(patch: pytest.MonkeyPatch) -> None:
    for module in (accept, capture, refund):
        patch.setattr(module, "differing_fields", lambda *_asked: [])
