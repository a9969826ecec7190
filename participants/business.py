"""What a service brings: how it holds, confirms and cancels its own kind of money.

The fence calls these methods inside its own local transaction, at most once with effect for each
(transaction_id, phase), so they need no idempotency of their own. They must work on the given
connection only and must not commit, call the network, or do anything else that a rollback cannot
undo: after a conflict the fence rolls back and calls them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias
from uuid import UUID

import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class OriginalStep:
    """The confirmed step that a refund gives back; never itself a refund."""

    transaction_id: UUID
    phase: str


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """A first Try.

    account     the wallet, card token or merchant; kept out of repr(), since it may be a secret.
                Of no meaning for a refund, which goes the way that the payment came
    hold_until  the hold must outlive this time; age alone never undoes it. None if it was not given
    refund_of   set for a refund: money is to go the other way. The fence has seen that the step was
                confirmed in this currency, and that all its refunds together stay within that
    """

    transaction_id: UUID
    phase: str
    currency_code: str
    amount_minor: int
    account: str = field(repr=False)
    hold_until: datetime | None = None
    refund_of: OriginalStep | None = None


@dataclass(frozen=True, slots=True)
class OpenTry:
    """A Try that was answered HELD or PENDING. Its account is what the business stored of it.

    refund_of  set for a refund, as it was in its HoldRequest
    """

    transaction_id: UUID
    phase: str
    currency_code: str
    amount_minor: int
    reference: str
    refund_of: OriginalStep | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The amount is set aside, so that Confirm cannot fail for lack of it."""

    reference: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """To be decided later by `Fence.decide`; a customer may have to go to `url` first."""

    reference: str = ""
    kind: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Final."""

    reference: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A definite no, for good.

    code    stable, in capitals, such as INSUFFICIENT_POINTS
    reason  one sentence that can be shown to the person who pays
    """

    code: str
    reason: str


NO_REFUNDS = "NO_REFUNDS"
"""Refuses a refund, of whatever step: the service has no money to give back, and does so always."""

TryOutcome: TypeAlias = Held | Pending | Refused


class Business(Protocol):
    """The money's side of a participant."""

    def hold(self, connection: sa.Connection, request: HoldRequest) -> TryOutcome:
        """Sets the amount aside. Whoever answers Refused must have written nothing that holds."""

    def confirm(
        self, connection: sa.Connection, held: OpenTry, final_minor: int
    ) -> Confirmed | Refused:
        """Makes `final_minor` of the hold final and gives the rest back, both or neither.

        `final_minor` is above 0 and at most `held.amount_minor`. Refused leaves the whole hold as
        it is: a Cancel will follow.
        """

    def cancel(self, connection: sa.Connection, held: OpenTry) -> None:
        """Gives back what was set aside, whether it was held, pending or refused at Confirm."""
