"""What a call to a participant told us. An adapter returns one of these four and nothing else."""

from __future__ import annotations

from typing import TypeAlias

from coordinator.domain.record import Record


class Applied(Record, frozen=True):
    """It is done, durably. `reference` is the participant's own, for support.

    `confirmed` tells the two answers to a Query apart: final, or (False) merely held.
    """

    reference: str = ""
    confirmed: bool = False


class Refused(Record, frozen=True):
    """A definite business no, given as an answer: nothing happened, and a repeat will say the same.

    A transport or server error is never this.
    """

    code: str
    reason: str


class NextAction(Record, frozen=True):
    """What the customer has to do: the kind of action, such as redirect, and where."""

    kind: str
    url: str


class Pending(Record, frozen=True):
    """It will be decided later, for instance by the customer; ask with Query."""

    reference: str = ""
    next_action: NextAction | None = None


class Unknown(Record, frozen=True):
    """Anything else: timeout, reset, 5xx, garbage. It may have happened, now or later.

    `suspicious` marks an answer that came and cannot be trusted (another transaction, another
    amount); a person should look at it.

    `retry_after_s` is set when the call surely never left this process, because something of ours
    held it back: nothing happened, and it is worth repeating after so many seconds (above 0).
    """

    code: str
    detail: str = ""
    suspicious: bool = False
    retry_after_s: float | None = None


CANCELLED_AT_PARTICIPANT = "CANCELLED_AT_PARTICIPANT"
"""The code of a refusal because a Cancel came first: nothing is held, and never will be."""
UNKNOWN_TRANSACTION = "UNKNOWN_TRANSACTION"
"""The code of an unknown outcome because the participant has not seen it, or not yet."""
BREAKER_OPEN = "BREAKER_OPEN"
PARTICIPANT_BUSY = "PARTICIPANT_BUSY"
HELD_BACK = frozenset({BREAKER_OPEN, PARTICIPANT_BUSY})
"""The codes of calls that were held back here."""

Outcome: TypeAlias = Applied | Refused | Pending | Unknown


def outcome_name(outcome: Outcome) -> str:
    """`applied`, `refused`, `pending` or `unknown`, as the journal spells it."""
    return type(outcome).__name__.lower()


def never_left(outcome: Outcome) -> bool:
    """Whether the call was held back here, so that the participant knows nothing of it."""
    return isinstance(outcome, Unknown) and outcome.retry_after_s is not None
