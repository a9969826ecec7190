"""What every operator's act begins and ends with: the row is read, compared, and committed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from coordinator.domain.errors import FlowNotServed
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.operating import Mandate
from coordinator.domain.operator_errors import (
    AlreadyDecided,
    AlreadyReleased,
    AlreadySettled,
    AnswerNotPossible,
    BeingDriven,
    ChangedMeanwhile,
    HeldByOperator,
    NotAllowed,
    NotHeld,
    NothingToRetry,
    TransactionNotFound,
)
from coordinator.domain.permitted import FLOW_NOT_SERVED, Verdict
from coordinator.domain.transaction import (
    Draft,
    EntryKind,
    JournalEntry,
    Transaction,
    flow_of,
)
from coordinator.engine.drive import Driver
from coordinator.ports import Clock, Committed, Store

RACES = 8
"""How often an act that lost a race is tried again; a transaction changes a few times at most."""
_LOOKED_BACK = 20
"""How many of the journal's last lines are searched for what changed."""

_REFUSALS: Mapping[str, type[NotAllowed]] = {
    kind.code: kind
    for kind in (
        AlreadyDecided,
        AlreadyReleased,
        AlreadySettled,
        AnswerNotPossible,
        BeingDriven,
        HeldByOperator,
        NotHeld,
        NothingToRetry,
    )
}


class Order(Mandate, frozen=True):
    """An operator's order about one transaction.

    `if_version` is the version that the operator looked at; 0: whatever it is.
    """

    if_version: int = 0


class Desk:
    """Reads, compares and commits for the operators' use cases."""

    def __init__(
        self, *, store: Store, driver: Driver, flows: Mapping[str, Flow], clock: Clock
    ) -> None:
        self._store = store
        self._driver = driver
        self._flows = flows
        self._clock = clock

    def now(self) -> datetime:
        """The time."""
        return self._clock.now()

    def flow_of(self, transaction: Transaction) -> Flow | None:
        """The flow that it follows, turned round for a refund; None if it is not served here."""
        return flow_of(self._flows, transaction) if transaction.flow in self._flows else None

    async def found(self, transaction_id: TransactionId, if_version: int = 0) -> Transaction:
        """The transaction as it stands. Raises TransactionNotFound, ChangedMeanwhile."""
        found = await self._store.get(transaction_id)
        if found is None:
            raise TransactionNotFound(transaction_id)
        if if_version not in {0, found.version}:
            lines = await self.last_lines(found, _LOOKED_BACK)
            told = [line for line in lines if line.kind is not EntryKind.ATTEMPT]
            raise ChangedMeanwhile(found.id, found.version, [tell(line) for line in told[-1:]])
        return found

    async def last_lines(self, transaction: Transaction, count: int) -> list[JournalEntry]:
        """The journal's last lines, oldest first."""
        after = max(0, transaction.sequence - count)
        return list(await self._store.journal(transaction.id, after, count))

    async def driven_by(self, transaction: Transaction) -> str:
        """The process that drives it now; empty for none."""
        claim = await self._store.claim_of(transaction.id)
        return "" if claim is None else claim.owner

    async def commit(
        self, before: Transaction, draft: Draft, order: Order, *, drive: bool
    ) -> Transaction | None:
        """What was committed, and is driven on if `drive`; None when another try is worth it.

        Raises ChangedMeanwhile when another operator acted since `before` was read.
        """
        now = self.now()
        change = draft.change(now=now, due_at=now, keep_claim=drive)
        # What is not served here is never driven here, so that there is nothing to drop either.
        served = before.flow in self._flows
        result = await (self._driver.submit(change) if served else self._store.commit(change))
        if isinstance(result, Committed):
            return result.transaction
        lines = await self._store.journal(before.id, before.sequence, _LOOKED_BACK)
        acts = [tell(line) for line in lines if line.actor not in {"", order.actor}]
        if acts:
            found = await self.found(before.id)
            raise ChangedMeanwhile(found.id, found.version, acts)
        return None


def require(transaction: Transaction, verdict: Verdict) -> None:
    """Raises the error of a verdict that does not allow the act."""
    if verdict.code == FLOW_NOT_SERVED:
        raise FlowNotServed(transaction.id, transaction.flow)
    if not verdict.allowed:
        hold = transaction.hold
        facts = {} if hold is None else {"operator": hold.actor}
        raise _REFUSALS[verdict.code](transaction.id, _sentence(verdict), **facts)


def _sentence(verdict: Verdict) -> str:
    return f"{verdict.act} is not allowed: {verdict.reason}"


def tell(line: JournalEntry) -> str:
    """One line of the journal in a few words."""
    at = f"at {line.at:%Y-%m-%d %H:%M:%S} UTC"
    why = f" ({line.detail})" if line.detail else ""
    if line.kind is EntryKind.OPERATOR:
        return f"{line.actor}: {line.event} {at}{why}"
    return f"{line.event} to {line.to_state} {at}{why}"
