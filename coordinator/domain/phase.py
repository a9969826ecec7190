"""A phase: a kind of work done at one participant, described as data.

A new payment method is one `Phase` constant; see docs/adding-a-phase.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from coordinator.domain.retry import LONGEST_S, RetryPolicy

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Role(StrEnum):
    """What a phase does with the money."""

    TAKES = "takes"
    """Takes a tender's amount from the tender's source."""
    GIVES = "gives"
    """Gives the whole amount to the merchant."""
    KEEPS = "keeps"
    """Keeps something else for the buyer, such as an article; the payment's item says what."""
    ANNOUNCES = "announces"
    """Moves nothing: its Confirm is the outbox row in the settling commit."""


class Operation(StrEnum):
    """What can be asked of a participant."""

    TRY = "try"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of step.

    name               unique, snake case; stored with every step, so never renamed
    title              for people
    role               what it does with the money
    participant        whose configuration entry it calls; empty for ANNOUNCES
    confirm_refusable  whether a held Try may still be refused at Confirm (a card capture): such a
                       phase is the pivot of its flow
    cancellable        whether a Try can be undone; a flow refuses phases that cannot
    secret_source      the tender's source is a secret: sealed at rest, and forgotten as soon as the
                       Try is answered
    retry              waits and time limits of its calls
    poll_s             how long after a pending Try it is queried, in seconds; doubles from query to
                       query, up to the cap of `retry`
    longest_hold_s     how long the participant holds at most, in seconds: the life of a card
                       authorization, for instance
    park_s             how long a Confirm or Cancel that was refused for good rests before it is
                       asked again, in seconds
    """

    name: str
    title: str
    role: Role
    participant: str = ""
    confirm_refusable: bool = False
    cancellable: bool = True
    secret_source: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    poll_s: float = 2.0
    park_s: float = 300.0
    longest_hold_s: float = LONGEST_S

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"phase name {self.name!r} must be snake case, at most 40 characters")
        if (self.role is Role.ANNOUNCES) != (self.participant == ""):
            raise ValueError(
                f"phase {self.name}: a participant goes with moving money, and only then"
            )
        if self.secret_source and self.role is not Role.TAKES:
            raise ValueError(f"phase {self.name}: only what takes money has a secret source")
        if not 0 < self.longest_hold_s <= LONGEST_S:
            raise ValueError(
                f"phase {self.name}: longest_hold_s must be above 0 and at most {LONGEST_S}"
            )
        if not (0 < self.poll_s <= LONGEST_S and 0 < self.park_s <= LONGEST_S):
            raise ValueError(
                f"phase {self.name}: poll_s and park_s must be above 0 and at most {LONGEST_S}"
            )

    def next_poll_s(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt` (1, 2, …) was answered Pending."""
        return min(max(self.poll_s, self.retry.cap_s), self.poll_s * 2.0 ** min(attempt - 1, 32))
