"""A double-entry ledger: money moves only by entries whose postings sum to 0.

An entry's key is (transaction_id, phase, operation), so an operation has at most one effect even
where everything else fails. Conservation is a SUM in SQL; `ledger_totals` and `ledger_breaks` are
that SQL.

Accounts are of two kinds. A *guarded* account (a wallet) keeps its balance and what is held of it
beside its postings, with CHECKs that neither the balance nor what is free of it falls below 0. Any
other account has only its postings: nothing limits it, so no row is a point where all payments
queue. Where such an account must pay something out, `lock_free` sums up what it has.

Signs: a posting is added to its account. A guarded account is counted in one unit, and the service
sees to it. Functions work on the connection given to them and commit nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

LEDGER_METADATA = sa.MetaData()

ACCOUNTS = sa.Table(
    "ledger_accounts",
    LEDGER_METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("guarded", sa.Boolean, nullable=False),
    sa.Column("balance_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("held_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("held_minor >= 0", name="ledger_held_is_not_negative"),
    sa.CheckConstraint("balance_minor >= held_minor", name="ledger_balance_covers_held"),
    sa.CheckConstraint(
        "guarded OR (balance_minor = 0 AND held_minor = 0)", name="ledger_only_guarded_keep_balance"
    ),
)

ENTRIES = sa.Table(
    "ledger_entries",
    LEDGER_METADATA,
    sa.Column("transaction_id", sa.Uuid, primary_key=True),
    sa.Column("phase", sa.Text, primary_key=True),
    sa.Column("operation", sa.Text, primary_key=True),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column(
        "entry_time",
        sa.DateTime(timezone=True),
        nullable=False,
        server_default=sa.func.clock_timestamp(),
    ),
)

POSTINGS = sa.Table(
    "ledger_postings",
    LEDGER_METADATA,
    sa.Column("transaction_id", sa.Uuid, primary_key=True),
    sa.Column("phase", sa.Text, primary_key=True),
    sa.Column("operation", sa.Text, primary_key=True),
    sa.Column("account", sa.ForeignKey(ACCOUNTS.c.account), primary_key=True),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(
        ["transaction_id", "phase", "operation"],
        [ENTRIES.c.transaction_id, ENTRIES.c.phase, ENTRIES.c.operation],
    ),
    sa.CheckConstraint("amount_minor <> 0", name="ledger_posting_moves_something"),
    sa.Index("ledger_postings_by_account", "account"),
)

HOLDS = sa.Table(
    "ledger_holds",
    LEDGER_METADATA,
    sa.Column("transaction_id", sa.Uuid, primary_key=True),
    sa.Column("phase", sa.Text, primary_key=True),
    sa.Column("account", sa.ForeignKey(ACCOUNTS.c.account), nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    # Whether it is there to give a payment back.
    sa.Column("refund", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("amount_minor > 0", name="ledger_hold_is_positive"),
    sa.CheckConstraint("state IN ('OPEN', 'USED', 'RELEASED')", name="ledger_hold_state_is_known"),
    sa.Index(
        "ledger_open_holds", "transaction_id", "phase", postgresql_where=sa.text("state = 'OPEN'")
    ),
    sa.Index(
        "ledger_open_refunds", "account", postgresql_where=sa.text("state = 'OPEN' AND refund")
    ),
)


class Operation(StrEnum):
    """What an entry was posted for."""

    OPEN = "open"
    CONFIRM = "confirm"
    REFUND = "refund"
    """The Confirm of a refund."""
    PAYOUT = "payout"


OPENING_PHASE = "opening"
_OPENINGS = UUID("6b657373-6169-4f70-a565-6e696e677321")


@dataclass(frozen=True, slots=True)
class Key:
    """What one payment does at one participant."""

    transaction_id: UUID
    phase: str


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it stands, its amounts in minor units (0 and 0 unless it is guarded)."""

    account: str
    guarded: bool
    balance_minor: int
    held_minor: int

    @property
    def free_minor(self) -> int:
        """What is not held of the balance."""
        return self.balance_minor - self.held_minor


@dataclass(frozen=True, slots=True)
class Hold:
    """An amount set aside on an account, in minor units of `unit`; `refund`: to be given back."""

    key: Key
    account: str
    unit: str
    amount_minor: int
    refund: bool = False


class NoHold(Exception):
    """There is no such hold, or none open: the fence let something through that it must not."""


def add_account(connection: sa.Connection, account: str, *, guarded: bool = False) -> None:
    """Adds the account unless it is there."""
    connection.execute(
        pg.insert(ACCOUNTS).values(account=account, guarded=guarded).on_conflict_do_nothing()
    )


def open_account(
    connection: sa.Connection,
    account: str,
    *,
    guarded: bool,
    unit: str,
    opening_minor: int,
    source: str,
) -> None:
    """Adds the account and pays its opening balance out of `source`, once: later calls do nothing.

    Raises ValueError for an opening balance below 0.
    """
    if opening_minor < 0:
        raise ValueError(f"the opening balance of {account} is below 0")
    add_account(connection, account, guarded=guarded)
    if opening_minor == 0:
        return
    key = Key(uuid5(_OPENINGS, f"{unit}/{account}"), OPENING_PHASE)
    add_account(connection, source)

    # Whoever holds the account's row decides alone whether it was opened.
    connection.execute(
        sa.select(ACCOUNTS.c.account).where(ACCOUNTS.c.account == account).with_for_update()
    )
    there = connection.execute(
        sa.select(ENTRIES.c.phase).where(ENTRIES.c.transaction_id == key.transaction_id)
    ).first()
    if there is None:
        post(
            connection, key, Operation.OPEN, unit, {account: opening_minor, source: -opening_minor}
        )


def find_account(connection: sa.Connection, account: str) -> Account | None:
    """The account, locked until the transaction ends if it is guarded; None if there is none."""
    query = sa.select(ACCOUNTS).where(ACCOUNTS.c.account == account)
    found = connection.execute(query).mappings().first()
    if found is not None and found["guarded"]:
        found = connection.execute(query.with_for_update()).mappings().first()
    return None if found is None else Account(**found)


def add_hold(connection: sa.Connection, hold: Hold, account: Account) -> None:
    """Sets the amount aside. `account` comes from `find_account` in the same transaction.

    Raises IntegrityError when a guarded account has too little that is free: look first.
    """
    add_promise(connection, hold)
    if account.guarded:
        _add_held(connection, hold.account, hold.amount_minor)


def add_promise(connection: sa.Connection, hold: Hold) -> None:
    """Sets the amount aside on an account that is not guarded."""
    connection.execute(
        sa.insert(HOLDS).values(
            transaction_id=hold.key.transaction_id,
            phase=hold.key.phase,
            account=hold.account,
            unit=hold.unit,
            amount_minor=hold.amount_minor,
            state="OPEN",
            refund=hold.refund,
        )
    )


def account_of(connection: sa.Connection, key: Key) -> str:
    """The account of a hold, be it open, used or released. Raises NoHold."""
    query = sa.select(HOLDS.c.account).where(
        HOLDS.c.transaction_id == key.transaction_id, HOLDS.c.phase == key.phase
    )
    account = connection.execute(query).scalar_one_or_none()
    if account is None:
        raise NoHold(f"{key.transaction_id} has no hold in {key.phase}")
    return str(account)


def lock_free(connection: sa.Connection, account: str, unit: str) -> int:
    """What an account that is not guarded could pay out now, in minor units of `unit`.

    That is the sum of its postings less the refunds that are held. Only those who ask here queue
    for the account's row, until their transactions end; what credits the account meanwhile does
    not wait, and only adds. Reads every posting of the account, through an index.
    """
    connection.execute(
        sa.select(ACCOUNTS.c.account)
        .where(ACCOUNTS.c.account == account)
        # Not FOR UPDATE: the foreign keys of new postings and holds would wait for that.
        .with_for_update(key_share=True)
    )
    posted = (
        sa.select(sa.func.coalesce(sa.func.sum(POSTINGS.c.amount_minor), 0))
        .join(ENTRIES)
        .where(POSTINGS.c.account == account, ENTRIES.c.unit == unit)
    )
    held = sa.select(sa.func.coalesce(sa.func.sum(HOLDS.c.amount_minor), 0)).where(
        HOLDS.c.account == account,
        HOLDS.c.unit == unit,
        HOLDS.c.state == "OPEN",
        HOLDS.c.refund,
    )
    # One statement is one snapshot: a refund that is made final meanwhile counts once.
    free = sa.select(posted.scalar_subquery() - held.scalar_subquery())
    return int(connection.execute(free).scalar_one())


def use_hold(
    connection: sa.Connection, key: Key, counter_account: str, *, sign: int, amount_minor: int
) -> Hold:
    """Closes the open hold and posts `amount_minor` of it; the rest of the hold is free again.

    The entry's operation is `confirm`, or `refund` where the hold is for one.

    sign  −1 takes the amount from the hold's account and gives it to `counter_account`; 1 the
    reverse

    Raises NoHold, and ValueError for more than the hold.
    """
    hold = _close(connection, key, "USED")
    if amount_minor > hold.amount_minor:
        raise ValueError(f"{amount_minor} is more than the {hold.amount_minor} that is held")
    add_account(connection, counter_account)
    amount = sign * amount_minor
    operation = Operation.REFUND if hold.refund else Operation.CONFIRM
    post(connection, key, operation, hold.unit, {hold.account: amount, counter_account: -amount})
    return hold


def release_hold(connection: sa.Connection, key: Key) -> Hold:
    """Closes the open hold; nothing is posted. Raises NoHold."""
    return _close(connection, key, "RELEASED")


def post(
    connection: sa.Connection, key: Key, operation: str, unit: str, postings: Mapping[str, int]
) -> None:
    """Writes one entry: account to signed amount in minor units of `unit`.

    Raises ValueError when the postings do not sum to 0, IntegrityError when the operation was
    posted before or a guarded account would fall below 0.
    """
    if not postings or sum(postings.values()) != 0:
        raise ValueError("the postings of an entry must sum to 0")
    named = {
        "transaction_id": key.transaction_id,
        "phase": key.phase,
        "operation": operation,
    }
    connection.execute(sa.insert(ENTRIES).values(**named, unit=unit))

    # One order everywhere: two entries over the same accounts then cannot wait for each other.
    for account, amount in sorted(postings.items()):
        connection.execute(
            sa.insert(POSTINGS).values(**named, account=account, amount_minor=amount)
        )
        connection.execute(
            sa.update(ACCOUNTS)
            .where(ACCOUNTS.c.account == account, ACCOUNTS.c.guarded)
            .values(balance_minor=ACCOUNTS.c.balance_minor + amount)
        )


def _close(connection: sa.Connection, key: Key, state: str) -> Hold:
    closed = connection.execute(
        sa.update(HOLDS)
        .where(
            HOLDS.c.transaction_id == key.transaction_id,
            HOLDS.c.phase == key.phase,
            HOLDS.c.state == "OPEN",
        )
        .values(state=state)
        .returning(HOLDS.c.account, HOLDS.c.unit, HOLDS.c.amount_minor, HOLDS.c.refund)
    ).first()
    if closed is None:
        raise NoHold(f"{key.transaction_id} has no open hold in {key.phase}")
    _add_held(connection, closed.account, -closed.amount_minor)
    return Hold(key, closed.account, closed.unit, closed.amount_minor, closed.refund)


def _add_held(connection: sa.Connection, account: str, amount_minor: int) -> None:
    connection.execute(
        sa.update(ACCOUNTS)
        .where(ACCOUNTS.c.account == account, ACCOUNTS.c.guarded)
        .values(held_minor=ACCOUNTS.c.held_minor + amount_minor)
    )
