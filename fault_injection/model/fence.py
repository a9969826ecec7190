"""One participant: the fence of docs/participants.md as two small functions of its history.

A history is the path a participant has gone, one letter for each change of its state; it is also
all that it ever said, since what it answers depends on its state alone. So `heard` can give back
every answer that may still be under way: the network forgets nothing. (A Query is heard with every
answer that it could have had at any moment so far, whenever it was sent: more than can happen.)

What is restated here is compared with the real fence by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache

from coordinator.domain.phase import Operation
from fault_injection.model.variants import Switches


class Status(StrEnum):
    """What an answer says, in the words of the participant protocol."""

    HELD = "HELD"
    PENDING = "PENDING"
    REFUSED = "REFUSED"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"


NOTHING, PENDING, HELD, REFUSED, CONFIRMED, CONFIRM_REFUSED, CANCELLED = "", *"PHRCFX"
"""The letters of a history. After CONFIRM_REFUSED the hold still stands; the first letter of all
tells what the Try was answered."""
FORGOT = "o"
"""What a broken participant adds when it answers CANCELLED and remembers nothing of it."""

NOW: Mapping[str, Status] = {
    PENDING: Status.PENDING,
    HELD: Status.HELD,
    REFUSED: Status.REFUSED,
    CONFIRMED: Status.CONFIRMED,
    CONFIRM_REFUSED: Status.REFUSED,
    CANCELLED: Status.CANCELLED,
}
HOLDING = frozenset({PENDING, HELD, CONFIRM_REFUSED})
"""Last letters with which the participant keeps something of the payer's."""


def now(history: str) -> str:
    """How the participant stands: the last letter of those that it remembers."""
    return history.replace(FORGOT, "")[-1:]


@cache
def delivered(
    history: str, operation: Operation, switches: Switches, *, pivot: bool
) -> tuple[str, ...]:
    """Each history that may follow when the request arrives; none when it changes nothing.

    Only the pivot may refuse a Confirm, and only the pivot may let a Try wait for its customer.
    """
    stands = now(history)
    grown: tuple[str, ...] = ()
    if operation is Operation.TRY and stands == NOTHING:
        grown = (HELD, REFUSED, PENDING) if pivot else (HELD, REFUSED)
    if operation is Operation.CONFIRM:
        if stands == HELD:
            grown = (CONFIRMED, CONFIRM_REFUSED) if pivot else (CONFIRMED,)
        elif stands == CONFIRM_REFUSED and switches.refusal_forgotten:
            grown = (CONFIRMED,)
    if operation is Operation.CANCEL and stands not in {CONFIRMED, CANCELLED}:
        grown = (CANCELLED,)
        if stands == NOTHING and switches.no_tombstone:
            grown = () if history else (FORGOT,)
        if stands == NOTHING and switches.empty_cancel_fails:
            grown = ()
    return tuple(history + letter for letter in grown)


@cache
def decided(history: str) -> tuple[str, ...]:
    """Each history that may follow by itself: what is pending is decided by the customer."""
    return (history + HELD, history + REFUSED) if now(history) == PENDING else ()


def answer(history: str, operation: Operation) -> Status | None:
    """What the participant says to a request that has just been delivered; None is an error."""
    stands = now(history)
    if operation is Operation.TRY:
        return Status.CANCELLED if stands == CANCELLED else NOW.get(history.replace(FORGOT, "")[:1])
    if operation is Operation.CONFIRM:
        if CONFIRMED in history:
            return Status.CONFIRMED
        return Status.REFUSED if CONFIRM_REFUSED in history else None
    if operation is Operation.CANCEL:
        return Status.CANCELLED if history[-1:] in {CANCELLED, FORGOT} else None
    return NOW.get(stands)


@cache
def heard(history: str, operation: Operation) -> tuple[Status, ...]:
    """Every answer to the operation that may have been given so far, errors aside."""
    moments = (history[:end] for end in range(len(history) + 1))
    said = {answer(moment, operation) for moment in moments}
    return tuple(status for status in Status if status in said)


def histories(switches: Switches) -> tuple[str, ...]:
    """Every history that a participant, the pivot or not, can have."""
    known = dict.fromkeys([NOTHING])
    waiting = [NOTHING]
    while waiting:
        history = waiting.pop()
        grown = [*decided(history)]
        for operation in Operation:
            grown += delivered(history, operation, switches, pivot=True)
        waiting += [each for each in grown if each not in known]
        known |= dict.fromkeys(grown)
    return tuple(known)
