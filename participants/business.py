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
class HoldRequest:
    """A first Try.

    account     the wallet, card token or merchant; kept out of repr(), since it may be a secret
    hold_until  the hold must outlive this time; age alone never undoes it. None if it was not given
    """

    transaction_id: UUID
    phase: str
    currency_code: str
    amount_minor: int
    account: str = field(repr=False)
    hold_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenTry:
    """A Try that was answered HELD or PENDING. Its account is what the business stored of it."""

    transaction_id: UUID
    phase: str
    currency_code: str
    amount_minor: int
    reference: str


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


TryOutcome: TypeAlias = Held | Pending | Refused


class Business(Protocol):
    """The money's side of a participant."""

    def hold(self, connection: sa.Connection, request: HoldRequest) -> TryOutcome:
        """Sets the amount aside. Whoever answers Refused must have written nothing that holds."""

    def confirm(self, connection: sa.Connection, held: OpenTry) -> Confirmed | Refused:
        """Makes the hold final. Refused leaves the hold as it is: a Cancel will follow."""

    def cancel(self, connection: sa.Connection, held: OpenTry) -> None:
        """Gives back what was set aside, whether it was held, pending or refused at Confirm."""
