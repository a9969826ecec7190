"""What a ledger sums up to, and whether it is in order: plain SQL, to be run by hand as well.

    -- must be 0
    SELECT sum(amount_minor) FROM ledger_postings;
    -- what is set aside
    SELECT count(*), sum(amount_minor) FROM ledger_holds WHERE state = 'OPEN';
    -- what was burned, captured or credited
    SELECT sum(amount_minor) FROM ledger_postings WHERE operation = 'confirm' AND amount_minor > 0;
    -- what was given back of that: the same with operation = 'refund'

Everything is read in one snapshot, so the figures also fit each other while payments run.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

_TOTALS = sa.text(
    """
    SELECT
      (SELECT coalesce(sum(p.amount_minor), 0)
         FROM ledger_postings p JOIN ledger_entries e USING (transaction_id, phase, operation)
        WHERE CAST(:unit AS text) IS NULL OR e.unit = :unit) AS postings_minor,
      (SELECT coalesce(sum(amount_minor), 0) FROM ledger_holds
        WHERE state = 'OPEN' AND (CAST(:unit AS text) IS NULL OR unit = :unit)) AS open_holds_minor,
      (SELECT count(*) FROM ledger_holds
        WHERE state = 'OPEN' AND (CAST(:unit AS text) IS NULL OR unit = :unit)) AS open_holds,
      (SELECT coalesce(sum(p.amount_minor), 0)
         FROM ledger_postings p JOIN ledger_entries e USING (transaction_id, phase, operation)
        WHERE operation = 'confirm' AND p.amount_minor > 0
          AND (CAST(:unit AS text) IS NULL OR e.unit = :unit)) AS confirmed_minor,
      (SELECT count(*) FROM ledger_entries
        WHERE operation = 'confirm' AND (CAST(:unit AS text) IS NULL OR unit = :unit)) AS confirmed,
      (SELECT coalesce(sum(p.amount_minor), 0)
         FROM ledger_postings p JOIN ledger_entries e USING (transaction_id, phase, operation)
        WHERE operation = 'refund' AND p.amount_minor > 0
          AND (CAST(:unit AS text) IS NULL OR e.unit = :unit)) AS refunded_minor,
      (SELECT count(*) FROM ledger_entries
        WHERE operation = 'refund' AND (CAST(:unit AS text) IS NULL OR unit = :unit)) AS refunded
    """
)

_BREAKS = {
    "an entry's postings do not sum to 0": """
        SELECT e.transaction_id || ' ' || phase || ' ' || operation AS what
          FROM ledger_entries e LEFT JOIN ledger_postings p USING (transaction_id, phase, operation)
         GROUP BY e.transaction_id, phase, operation
        HAVING coalesce(sum(p.amount_minor), 0) <> 0 OR count(p.account) < 2
    """,
    "a balance is not the sum of its postings": """
        SELECT account AS what FROM ledger_accounts a
         WHERE guarded AND balance_minor <> (
           SELECT coalesce(sum(amount_minor), 0) FROM ledger_postings p WHERE p.account = a.account)
    """,
    "what is held is not the sum of the open holds": """
        SELECT account AS what FROM ledger_accounts a
         WHERE guarded AND held_minor <> (
           SELECT coalesce(sum(amount_minor), 0) FROM ledger_holds h
            WHERE h.account = a.account AND state = 'OPEN')
    """,
    "an open hold without an open Try, or the reverse": """
        SELECT coalesce(f.transaction_id, h.transaction_id) || ' '
               || coalesce(f.phase, h.phase) AS what
          FROM (SELECT transaction_id, phase, amount_minor FROM participant_fence
                 WHERE status IN ('HELD', 'PENDING', 'CONFIRM_REFUSED')) f
          FULL JOIN (SELECT transaction_id, phase, amount_minor FROM ledger_holds
                      WHERE state = 'OPEN') h
            ON f.transaction_id = h.transaction_id AND f.phase = h.phase
         WHERE f.amount_minor IS DISTINCT FROM h.amount_minor
    """,
    "a confirmed Try without its entry, or the reverse": """
        SELECT coalesce(f.transaction_id, e.transaction_id) || ' '
               || coalesce(f.phase, e.phase) AS what
          FROM (SELECT transaction_id, phase,
                       CASE WHEN refund_of_phase IS NULL THEN 'confirm' ELSE 'refund' END AS kind,
                       coalesce(confirm_minor, amount_minor) AS amount_minor
                  FROM participant_fence WHERE status = 'CONFIRMED') f
          FULL JOIN (SELECT transaction_id, phase, operation AS kind,
                            sum(amount_minor) AS amount_minor
                       FROM ledger_postings
                      WHERE operation IN ('confirm', 'refund') AND amount_minor > 0
                      GROUP BY transaction_id, phase, operation) e
            ON f.transaction_id = e.transaction_id AND f.phase = e.phase AND f.kind = e.kind
         WHERE f.amount_minor IS DISTINCT FROM e.amount_minor
    """,
    "what is refunded of a step is not the sum of its refunds": """
        SELECT coalesce(f.transaction_id, r.transaction_id) || ' '
               || coalesce(f.phase, r.phase) AS what
          FROM (SELECT transaction_id, phase, refunded_minor FROM participant_fence
                 WHERE refunded_minor <> 0) f
          FULL JOIN (SELECT refund_of_transaction_id AS transaction_id, refund_of_phase AS phase,
                            sum(CASE WHEN status = 'CONFIRMED'
                                     THEN coalesce(confirm_minor, amount_minor)
                                     ELSE amount_minor END) AS refunded_minor
                       FROM participant_fence
                      WHERE refund_of_phase IS NOT NULL
                        AND status IN ('HELD', 'PENDING', 'CONFIRM_REFUSED', 'CONFIRMED')
                      GROUP BY refund_of_transaction_id, refund_of_phase) r
            ON f.transaction_id = r.transaction_id AND f.phase = r.phase
         WHERE f.refunded_minor IS DISTINCT FROM r.refunded_minor
    """,
    "more is refunded of a step than was confirmed": """
        SELECT transaction_id || ' ' || phase AS what FROM participant_fence
         WHERE refunded_minor > CASE WHEN status = 'CONFIRMED'
                                     THEN coalesce(confirm_minor, amount_minor) ELSE 0 END
    """,
    "a merchant has paid out more than it has": """
        SELECT p.account || ' ' || e.unit AS what
          FROM ledger_postings p JOIN ledger_entries e USING (transaction_id, phase, operation)
         WHERE p.account LIKE 'merchant:%'
         GROUP BY p.account, e.unit HAVING sum(p.amount_minor) < 0
    """,
}


@dataclass(frozen=True, slots=True)
class LedgerTotals:
    """One participant's sums, in minor units.

    postings_minor    of all postings: 0 as long as money is conserved
    open_holds_minor  set aside by Trys, refunds too, that are neither confirmed nor cancelled
    open_holds        how many of them
    confirmed_minor   burned (points), captured (card) or credited (merchant)
    confirmed         how many Confirms that were
    refunded_minor    of that, given back: to wallets (points), to cards (card) or by merchants
    refunded          how many Confirms of refunds that were
    """

    postings_minor: int
    open_holds_minor: int
    open_holds: int
    confirmed_minor: int
    confirmed: int
    refunded_minor: int = 0
    refunded: int = 0

    @property
    def net_minor(self) -> int:
        """What is left of the confirmed payments: over all participants, money in = money out."""
        return self.confirmed_minor - self.refunded_minor


def ledger_totals(engine: sa.Engine, unit: str | None = None) -> LedgerTotals:
    """The sums over everything, or over one unit (`points`, or a currency at card and merchant)."""
    with engine.connect() as connection:
        row = connection.execute(_TOTALS, {"unit": unit}).mappings().one()
    return LedgerTotals(**{name: int(value) for name, value in row.items()})


def ledger_breaks(engine: sa.Engine) -> list[str]:
    """What is wrong with a reference service's books, one sentence each; empty when all is well."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        return [
            f"{sentence}: {row.what}"
            for sentence, query in _BREAKS.items()
            for row in connection.execute(sa.text(query))
        ]
