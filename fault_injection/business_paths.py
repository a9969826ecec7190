"""What callers do with payments, as data: each path is a caller that repeats what was not answered.

A path returns the transactions it made. Every one of them must end as the invariants say, whatever
fails on the way; `expect` is how the payment ends when nothing does, after at least `commits`.

`PATHS` need nothing but callers. `paths_of` has those of a flow as well on which a participant says
no, or nothing, and those with two coordinators.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeAlias

from coordinator.domain.decide import Call
from coordinator.domain.errors import CallerError, KeyReused
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.money import Money
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.split import Exact, InOrder, ProRata, Split
from coordinator.domain.transaction import Failure, Transaction
from coordinator.engine.capture import NewCapture
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from fault_injection.invariants import Violation, captured_as_asked
from fault_injection.model_participant import Defer, Fault, LoseRequest, Refuse, Script, no_faults
from fault_injection.world import FLOWS, World, payment

CALLER = "shop"
"""Who walks a path, unless it is said; a caller walks one path."""
DECIDED_S = 3.0
"""How long a customer thinks, on the paths on which one is asked, in seconds."""
Ids: TypeAlias = list[TransactionId]


class Walk(Protocol):
    """Goes a path on a flow; returns what it made: the payment, then its refunds."""

    def __call__(self, world: World, flow: str, caller: str = CALLER) -> Awaitable[Ids]:
        """Until nothing is left to do."""


@dataclass(frozen=True)
class Path:
    """One way to use the service.

    answers  what participants say on this path, even when nothing fails
    workers  how many coordinators there are
    """

    walk: Walk
    expect: State
    commits: int
    answers: Script = no_faults
    workers: int = 1


async def _create(
    world: World, flow: str, caller: str, *, manual: bool, reservation_s: float
) -> Transaction:
    new = payment(flow, caller=caller, manual=manual, reservation_s=reservation_s)
    accepted = await world.call(lambda: world.accept(new, 0.0))
    return await world.until_rest(accepted.transaction.id)


async def _capture(world: World, reserved: Transaction, part: Part) -> None:
    new = NewCapture(reserved.caller, "capture-1", reserved.id, part)
    try:
        accepted = await world.call(lambda: world.capture(new))
    except CallerError:
        return  # it failed or expired before: the invariants say what must be then
    captured_as_asked(new, accepted.transaction)


async def _cancel(world: World, reserved: Transaction) -> None:
    failure = Failure("CANCELLED_BY_CALLER", "changed their mind")
    try:
        await world.call(lambda: world.cancel(reserved.caller, reserved.id, failure))
    except CallerError:
        return  # it is paid, or it failed or expired before


def _yen(minor: int, split: Split) -> Part:
    return Part(Money(minor, "JPY"), split)


async def pay(world: World, flow: str, caller: str = CALLER) -> Ids:
    """An ordinary payment."""
    return [(await _create(world, flow, caller, manual=False, reservation_s=900.0)).id]


async def capture_all(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Reserved, then captured in full."""
    reserved = await _create(world, flow, caller, manual=True, reservation_s=900.0)
    await _capture(world, reserved, Part())
    return [reserved.id]


async def capture_part(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Reserved, then captured in part, pro rata."""
    reserved = await _create(world, flow, caller, manual=True, reservation_s=900.0)
    await _capture(world, reserved, _yen(333, ProRata()))
    return [reserved.id]


async def capture_first(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Captured so little that the first tender bears it all, and the others get all back."""
    reserved = await _create(world, flow, caller, manual=True, reservation_s=900.0)
    first = next(step.phase for step in reserved.steps if step.role == "takes")
    await _capture(world, reserved, _yen(100, InOrder((first,))))
    return [reserved.id]


async def capture_last(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Captured from the last tender alone."""
    reserved = await _create(world, flow, caller, manual=True, reservation_s=900.0)
    last = [step.phase for step in reserved.steps if step.role == "takes"][-1]
    await _capture(world, reserved, _yen(100, Exact({last: 100})))
    return [reserved.id]


async def capture_or_cancel(world: World, flow: str, caller: str = CALLER) -> Ids:
    """A capture and a cancel at the same instant."""
    reserved = await _create(world, flow, caller, manual=True, reservation_s=900.0)
    await asyncio.gather(_capture(world, reserved, Part()), _cancel(world, reserved))
    return [reserved.id]


async def expire(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Reserved, and forgotten."""
    return [(await _create(world, flow, caller, manual=True, reservation_s=60.0)).id]


async def cancel(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Reserved, then cancelled by its caller."""
    reserved = await _create(world, flow, caller, manual=True, reservation_s=900.0)
    await _cancel(world, reserved)
    return [reserved.id]


async def submit_twice(world: World, flow: str, caller: str = CALLER) -> Ids:
    """The same payment, three times at one instant, and once more; then another with its key.

    Raises Violation unless that makes one payment (S12).
    """
    new = payment(flow, caller=caller)
    asked = (world.call(lambda: world.accept(new, 0.0)) for _ in range(3))
    ids = {accepted.transaction.id for accepted in await asyncio.gather(*asked)}
    paid = await world.until_settled(next(iter(ids)))
    ids.add((await world.call(lambda: world.accept(new, 0.0))).transaction.id)
    if len(ids) > 1:
        raise Violation(f"S12: one key made {sorted(ids)}")
    other = evolve(new, merchant_id="another-shop")
    try:
        await world.call(lambda: world.accept(other, 0.0))
    except KeyReused:
        return [paid.id]
    raise Violation(f"S12: another payment was taken with the key of {paid.id}")


async def _refund(world: World, paid: Transaction, key: str, part: Part) -> Ids:
    new = NewRefund(paid.caller, key, paid.id, part)
    try:
        accepted = await world.call(lambda: world.refund(new))
    except CallerError:
        return []
    return [(await world.until_settled(accepted.transaction.id)).id]


async def refund_all(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Paid, then given back in full."""
    paid = await _create(world, flow, caller, manual=False, reservation_s=900.0)
    paid = await world.until_settled(paid.id)
    return [paid.id, *await _refund(world, paid, "refund-1", Part())]


async def refund_in_parts(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Given back one after the other: pro rata, the last tender first, and the rest."""
    paid = await _create(world, flow, caller, manual=False, reservation_s=900.0)
    paid = await world.until_settled(paid.id)
    last = [step.phase for step in paid.steps if step.role == "takes"][-1]
    ids = [paid.id]
    ids += await _refund(world, paid, "refund-1", _yen(333, ProRata()))
    ids += await _refund(world, paid, "refund-2", _yen(300, InOrder((last,))))
    ids += await _refund(world, paid, "refund-3", Part())
    return ids


async def refund_at_once(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Three refunds of 400 of 1,000 at one instant, then the rest."""
    paid = await _create(world, flow, caller, manual=False, reservation_s=900.0)
    paid = await world.until_settled(paid.id)
    parts = [_refund(world, paid, f"refund-{n}", _yen(400, ProRata())) for n in range(3)]
    ids = [each for ids in await asyncio.gather(*parts) for each in ids]
    return [paid.id, *ids, *await _refund(world, paid, "refund-rest", Part())]


async def refund_of_a_part(world: World, flow: str, caller: str = CALLER) -> Ids:
    """Captured in part, and that given back."""
    [payment_id] = await capture_part(world, flow, caller)
    paid = await world.until_settled(payment_id)
    return [paid.id, *await _refund(world, paid, "refund-1", Part())]


PATHS: Mapping[str, Path] = {
    "pay": Path(pay, State.PAID, 3),
    "capture all": Path(capture_all, State.PAID, 4),
    "capture a part": Path(capture_part, State.PAID, 4),
    "capture from the first tender": Path(capture_first, State.PAID, 4),
    "capture from the last tender": Path(capture_last, State.PAID, 4),
    "expire": Path(expire, State.FAILED, 3),
    "refund all": Path(refund_all, State.REFUNDED, 6),
    "refund in parts": Path(refund_in_parts, State.REFUNDED, 12),
    "refund at once": Path(refund_at_once, State.REFUNDED, 10),
    "refund of a part": Path(refund_of_a_part, State.REFUNDED, 7),
    "cancel": Path(cancel, State.FAILED, 4),
    "submit twice": Path(submit_twice, State.PAID, 3),
}


def paths_of(flow: Flow) -> Mapping[str, Path]:
    """Every path on this flow, by name."""
    paths = dict(PATHS)
    for phase in flow.called:
        no = _always(Refuse(), phase.name, Operation.TRY, refunds=False)
        silence = _always(LoseRequest(), phase.name, Operation.TRY, refunds=False)
        paths[f"refused by {phase.name}"] = Path(pay, State.FAILED, 3, no)
        later = _always(Defer(DECIDED_S), phase.name, Operation.TRY, refunds=False)
        paths[f"no answer from {phase.name}"] = Path(pay, State.FAILED, 3, silence)
        paths[f"decided later by {phase.name}"] = Path(pay, State.PAID, 4, later)
    if flow.pivot is not None:
        no = _always(Refuse(), flow.pivot.name, Operation.CONFIRM, refunds=False)
        paths["capture refused"] = Path(pay, State.FAILED, 4, no)
    for phase in flow.refund.called:
        no = _always(Refuse(), phase.name, Operation.TRY, refunds=True)
        silence = _always(LoseRequest(), phase.name, Operation.TRY, refunds=True)
        later = _always(Defer(DECIDED_S), phase.name, Operation.TRY, refunds=True)
        paths[f"refund refused by {phase.name}"] = Path(refund_all, State.PAID, 6, no)
        paths[f"no answer to a refund from {phase.name}"] = Path(refund_all, State.PAID, 6, silence)
        paths[f"refund decided later by {phase.name}"] = Path(refund_all, State.REFUNDED, 7, later)
    paths["two workers"] = Path(refund_of_a_part, State.REFUNDED, 7, workers=2)
    return paths


@cache
def paths_on(flow: str) -> Mapping[str, Path]:
    """Every path on the flow of this name."""
    return paths_of(FLOWS[flow])


def _always(fault: Fault, phase: str, operation: Operation, *, refunds: bool) -> Script:
    """What befalls every such call of a payment, or of its refunds."""

    def script(_transaction_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        hit = (call.phase.name, call.operation, call.refund_of is not None)
        return fault if hit == (phase, operation, refunds) else None

    return script
