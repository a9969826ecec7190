"""What must hold when all is quiet again, asked of the databases and the broker themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from coordinator.cli.client import Client
from coordinator.cli.events import collect
from coordinator.cli.failures import Failure
from coordinator.cli.ledgers import Ledgers, imbalances
from coordinator.cli.stack import LEDGERS, Stack
from coordinator.domain.machine import ANNOUNCED, SETTLED, State
from fault_injection.chaos.history import REFUND_ENDS, History, reachable
from fault_injection.chaos.orders import SOURCES
from fault_injection.chaos.readings import Readings
from fault_injection.chaos.shops import Shop

EVENTS_S = 60.0
SURPLUS_S = 2.0
"""How long events that nobody expects are looked for, in seconds."""
REPEATS = 50
"""How many creations are asked for once more, with their old keys."""
_GAPS = """
    SELECT t.id, t.state, count(j.*) AS lines, max(j.sequence) AS last, t.sequence,
           (array_agg(j.to_state ORDER BY j.sequence DESC))[1] AS ends
    FROM transactions t LEFT JOIN journal j ON j.transaction_id = t.id
    GROUP BY t.id
    HAVING count(j.*) <> t.sequence OR max(j.sequence) <> t.sequence
        OR (array_agg(j.to_state ORDER BY j.sequence DESC))[1] <> t.state
"""
_BROKEN_PATHS = """
    SELECT transaction_id, sequence FROM (
        SELECT transaction_id, sequence, from_state,
               lag(to_state) OVER (PARTITION BY transaction_id ORDER BY sequence) AS before
        FROM journal) lines
    WHERE from_state IS DISTINCT FROM before
"""
_LIVE = "SELECT count(*) FROM transactions WHERE due_at IS NOT NULL"


class Databases:
    """The coordinators' own database at `url`, read past them."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)

    def live(self) -> int:
        """How many transactions are not settled."""
        with self._engine.connect() as connection:
            return int(connection.execute(sa.text(_LIVE)).scalar_one())

    def ends(self) -> dict[str, tuple[State, bool]]:
        """Every transaction's state, and whether it is a payment."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.text("SELECT id::text, state, payment_id IS NULL FROM transactions")
            )
            return {found: (State(state), payment) for found, state, payment in rows}

    def sums(self) -> tuple[int, int]:
        """What all payments took and gave back, as the coordinator has it, in minor units."""
        taken = (
            "SELECT coalesce(sum(s.final_minor), 0) FROM steps s JOIN transactions t"
            " ON t.id = s.transaction_id WHERE s.role = 'gives' AND t.payment_id IS NULL"
            " AND t.state IN ('PAID', 'REFUNDED')"
        )
        given = "SELECT coalesce(sum(refunded_minor), 0) FROM transactions WHERE payment_id IS NULL"
        with self._engine.connect() as connection:
            captured = connection.execute(sa.text(taken)).scalar_one()
            refunded = connection.execute(sa.text(given)).scalar_one()
        return int(captured), int(refunded)

    def breaks(self) -> list[str]:
        """What is wrong with rows and journals."""
        with self._engine.connect() as connection:
            gaps = [
                f"S10: {row.id} is {row.state} at {row.sequence}; its journal has {row.lines} lines"
                f" up to {row.last} and ends in {row.ends}"
                for row in connection.execute(sa.text(_GAPS))
            ]
            paths = [
                f"S9: line {row.sequence} of {row.transaction_id} starts elsewhere"
                for row in connection.execute(sa.text(_BROKEN_PATHS))
            ]
        return gaps + paths


def judge(stack: Stack, history: History, shops: Sequence[Shop], readings: Readings) -> list[str]:
    """Everything that does not hold, one sentence each. Expects that all is quiet."""
    database = Databases(stack.database_urls["kessai"])
    ends = database.ends()
    readings.read_books()
    found = list(history.breaks)
    found += [f"L1: {each} is {state}" for each, (state, _) in ends.items() if state not in SETTLED]
    found += database.breaks()
    found += untrue(history, {each: state for each, (state, _) in ends.items()})
    found += _repeated(stack, shops)
    with Ledgers({name: stack.database_urls[name] for name in LEDGERS}) as ledgers:
        found += [f"S1: {what}" for what in imbalances(ledgers.books(), *database.sums())]
    found += [
        f"{name} ended by itself" for name, child in stack.children.items() if not child.running
    ]
    return found + _leaked(stack) + _announced(stack, ends)


def untrue(history: History, ends: Mapping[str, State]) -> list[str]:
    """What callers were told of payments and refunds, and is no longer so."""
    found = []
    for each, told in history.last.items():
        if each not in ends:
            found.append(f"S11: {each} was told to be {told}, and is not there")
        elif ends[each] not in reachable(told):
            found.append(f"S11: {each} was told to be {told}, and is {ends[each]}")
    for each, said in history.refunds.items():
        is_now = refund_word(ends[each]) if each in ends else "not there"
        if is_now == "not there" or (said in REFUND_ENDS and said != is_now):
            found.append(f"S11: refund {each} was told to be {said}, and is {is_now}")
    return found


def refund_word(state: State) -> str:
    """A refund's state in callers' words: they are told SUCCEEDED where the row says PAID."""
    return "SUCCEEDED" if state is State.PAID else state.value


def _leaked(stack: Stack) -> list[str]:
    """Card tokens are secrets: no log has one."""
    tokens = {token.encode() for token in SOURCES["card"]}
    return [
        f"S17: {token.decode()} is in {log.name}"
        for log in sorted(stack.logs.glob("*.log"))
        for token in sorted(tokens)
        if token in log.read_bytes()
    ]


def _repeated(stack: Stack, shops: Sequence[Shop]) -> list[str]:
    """The same key and body have the same payment, whatever happened meanwhile."""
    wrong = []
    with Client(stack.address, stack.keys.api_key, 30.0) as client:
        asked = [item for shop in shops for item in shop.requests.items()]
        for payment_id, request in asked[:: max(1, len(asked) // REPEATS)]:
            try:
                again = client.create(request)
            except Failure as failure:
                wrong.append(f"S12: {payment_id} asked for again: {failure.code} {failure}")
                continue
            if (again.payment.payment_id, again.replayed) != (payment_id, True):
                wrong.append(f"S12: {payment_id} asked for again is {again.payment.payment_id}")
    return wrong


def _announced(stack: Stack, ends: dict[str, tuple[State, bool]]) -> list[str]:
    """One event for each settled state that was reached."""
    wanted = set()
    for each, (state, payment) in ends.items():
        if state in ANNOUNCED:
            wanted.add((each, state.value if payment else refund_word(state)))
        if state is State.REFUNDED:
            wanted.add((each, "PAID"))
    events = collect(stack.nats.url, len(wanted), EVENTS_S)
    # That many may have come, and one too many after them.
    events = {**events, **collect(stack.nats.url, len(events) + len(wanted) + 1, SURPLUS_S)}
    arrived = [(event.subject, event.state) for event in events.values()]
    wrong = [f"S14: {each} {state} was not announced" for each, state in wanted - set(arrived)]
    wrong += [f"S14: {each} {state} was announced" for each, state in set(arrived) - wanted]
    if len(arrived) != len(set(arrived)):
        wrong.append(f"S14: {len(arrived)} events for {len(set(arrived))} states")
    return wrong
