"""The card service: authorize, capture, void, driven by test tokens (see `card_tokens`).

The card token itself is stored nowhere; only what it does is kept with the authorization, and a
digest of a token with a limit, as the name of its account.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from threading import Lock
from uuid import UUID

import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from participants import ledger
from participants.business import (
    Confirmed,
    Held,
    HoldRequest,
    OpenTry,
    Pending,
    Refused,
    TryOutcome,
)
from participants.card_tokens import PENDING_TOKENS, CardToken, limit_minor, read_token
from participants.database import in_transaction
from participants.fence import Fence

ISSUER = "card:issuer"
CAPTURED = "card:captured"
LIMITED = "card:limited:"
ACTION_URL = "https://card.example/confirm/"

CARD_METADATA = sa.MetaData()

AUTHORIZATIONS = sa.Table(
    "card_authorizations",
    CARD_METADATA,
    sa.Column("transaction_id", sa.Uuid, primary_key=True),
    sa.Column("phase", sa.Text, primary_key=True),
    sa.Column("token_kind", sa.Text, nullable=False),
    sa.Column("decide_at", sa.DateTime(timezone=True)),
    sa.Index("card_undecided", "decide_at", postgresql_where=sa.text("decide_at IS NOT NULL")),
)


def _is(transaction_id: UUID, phase: str) -> sa.ColumnElement[bool]:
    table = AUTHORIZATIONS.c
    return sa.and_(table.transaction_id == transaction_id, table.phase == phase)


class Card:
    """The `Business` of cards.

    customer_action_s  after how many seconds the customer of a pending token acts; None: never by
                       itself, only by `decide`
    """

    def __init__(self, *, customer_action_s: float | None = 5.0) -> None:
        self._customer_action_s = customer_action_s
        self._lock = Lock()
        self._late_answers: set[tuple[UUID, str]] = set()

    def prepare(self, connection: sa.Connection, seeds: Mapping[str, int]) -> None:
        """Adds the two accounts there are. Raises ValueError for seeds: tokens are not accounts."""
        if seeds:
            raise ValueError("the card service takes no seeds: its tokens are fixed")
        ledger.add_account(connection, ISSUER)
        ledger.add_account(connection, CAPTURED)

    def hold(self, connection: sa.Connection, request: HoldRequest) -> TryOutcome:
        """Authorizes, or promises a refund of what was captured, for which no token is needed.

        Refuses with UNKNOWN_CARD, CARD_DECLINED or CARD_LIMIT_EXCEEDED.
        """
        if request.refund_of is not None:
            key = ledger.Key(request.transaction_id, request.phase)
            ledger.add_promise(
                connection,
                ledger.Hold(
                    key, CAPTURED, request.currency_code, request.amount_minor, refund=True
                ),
            )
            return Held(reference=f"rfnd_{request.transaction_id.hex[:16]}")
        token = read_token(request.account)
        if token is None:
            return Refused("UNKNOWN_CARD", "This card is not known.")
        if token is CardToken.DECLINED:
            return Refused("CARD_DECLINED", "The card was declined by its bank.")
        payer = _limited(connection, request) if token is CardToken.LIMIT else ISSUER
        account = ledger.find_account(connection, payer)
        assert account is not None, "it was added before"
        if account.guarded and account.free_minor < request.amount_minor:
            return Refused("CARD_LIMIT_EXCEEDED", "The payment is above the card's limit.")
        hold = ledger.Hold(
            ledger.Key(request.transaction_id, request.phase),
            payer,
            request.currency_code,
            request.amount_minor,
        )
        ledger.add_hold(connection, hold, account)
        pending = token in PENDING_TOKENS
        connection.execute(
            sa.insert(AUTHORIZATIONS).values(
                transaction_id=request.transaction_id,
                phase=request.phase,
                token_kind=token,
                decide_at=self._decide_at() if pending else None,
            )
        )
        if token is CardToken.TIMEOUT_AFTER_TRY:
            self._answer_late(request.transaction_id, request.phase)
        reference = f"auth_{request.transaction_id.hex[:16]}"
        if pending:
            url = ACTION_URL + str(request.transaction_id)
            return Pending(reference=reference, kind="redirect", url=url)
        return Held(reference=reference)

    def confirm(
        self, connection: sa.Connection, held: OpenTry, final_minor: int
    ) -> Confirmed | Refused:
        """Captures and voids the rest. Refuses with CAPTURE_DECLINED, and then keeps the hold.

        A refund goes to the card that the original authorization was on, and is never refused.
        """
        key = ledger.Key(held.transaction_id, held.phase)
        if held.refund_of is not None:
            payer = ledger.account_of(
                connection, ledger.Key(held.refund_of.transaction_id, held.refund_of.phase)
            )
            ledger.use_hold(connection, key, payer, sign=-1, amount_minor=final_minor)
            return Confirmed()
        token = connection.execute(
            sa.select(AUTHORIZATIONS.c.token_kind).where(_is(held.transaction_id, held.phase))
        ).scalar_one()
        if token == CardToken.CAPTURE_DECLINED:
            return Refused("CAPTURE_DECLINED", "The card's bank refused to complete the payment.")
        if token == CardToken.TIMEOUT_AFTER_CAPTURE:
            self._answer_late(held.transaction_id, held.phase)
        ledger.use_hold(connection, key, CAPTURED, sign=-1, amount_minor=final_minor)
        return Confirmed()

    def cancel(self, connection: sa.Connection, held: OpenTry) -> None:
        """Voids."""
        _settle_action(connection, held)
        ledger.release_hold(connection, ledger.Key(held.transaction_id, held.phase))

    def takes_late_answer(self, transaction_id: str, phase: str) -> bool:
        """Whether the answer to what was just done is to come late; true once."""
        key = (UUID(transaction_id), phase)
        with self._lock:
            if key not in self._late_answers:
                return False
            self._late_answers.remove(key)
            return True

    def _answer_late(self, transaction_id: UUID, phase: str) -> None:
        with self._lock:
            self._late_answers.add((transaction_id, phase))

    def _decide_at(self) -> sa.ColumnElement[object] | None:
        if self._customer_action_s is None:
            return None
        return sa.func.clock_timestamp() + sa.literal(timedelta(seconds=self._customer_action_s))


def _limited(connection: sa.Connection, request: HoldRequest) -> str:
    """The account of a card with a limit, which it is given when it is first seen."""
    digest = sha256(request.account.encode()).hexdigest()[:16]
    name = f"{LIMITED}{request.currency_code}:{digest}"
    ledger.open_account(
        connection,
        name,
        guarded=True,
        unit=request.currency_code,
        opening_minor=limit_minor(request.account),
        source=ISSUER,
    )
    return name


def _settle_action(connection: sa.Connection, held: OpenTry) -> None:
    connection.execute(
        sa.update(AUTHORIZATIONS).where(_is(held.transaction_id, held.phase)).values(decide_at=None)
    )


def decide(fence: Fence, transaction_id: str, phase: str, *, approve: bool) -> pb.Answer:
    """Does what the customer of a pending Try does, and returns the answer that holds then.

    A Try that is no longer pending is left as it is. Raises NotHeld when there is no such Try.
    """

    def settle(connection: sa.Connection, held: OpenTry) -> Held | Refused:
        _settle_action(connection, held)
        if approve:
            return Held()
        ledger.release_hold(connection, ledger.Key(held.transaction_id, held.phase))
        return Refused("CUSTOMER_DECLINED", "The payment was not confirmed with the card's bank.")

    return fence.decide(transaction_id, phase, settle)


def decide_due(engine: sa.Engine, fence: Fence) -> int:
    """Decides every pending Try whose customer acts by now; returns how many."""
    query = sa.select(AUTHORIZATIONS).where(AUTHORIZATIONS.c.decide_at <= sa.func.clock_timestamp())
    due = in_transaction(engine, lambda connection: connection.execute(query).all())
    for row in due:
        approve = row.token_kind == CardToken.CUSTOMER_ACTION
        decide(fence, str(row.transaction_id), row.phase, approve=approve)
    return len(due)
