"""Rules at work in one process: what befalls whom, counted and told.

Every fault that is brought about is told to the Observer, so that nobody takes it for a real one;
what is answered in its stead says INJECTED.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from coordinator.domain.ids import TransactionId
from coordinator.domain.transaction import Transaction
from coordinator.ports import Clock, Observer
from fault_injection.faults.kinds import Area
from fault_injection.faults.rules import Armed, Rule
from fault_injection.simulation.database_faults import DATABASE_FAULTS

INJECTED = "injected on purpose"
MAX_FLOWS = 100_000
"""Of how many transactions the flow is remembered, the latest ones."""


class Injection:
    """The rules of one process. Made in the running loop that it is told of everything in.

    Its methods are for that loop's thread; `commit_point` is for the store's writer thread.
    """

    def __init__(self, rules: Sequence[Rule], *, clock: Clock, observer: Observer) -> None:
        self.clock = clock
        self._observer = observer
        self._armed = {
            area: [Armed(rule, clock.monotonic) for rule in rules if rule.place.area is area]
            for area in Area
        }
        self._loop = asyncio.get_running_loop() if self._armed[Area.COMMIT] else None
        self._by_flow = any(rule.flow for rule in rules)
        self._flows: OrderedDict[TransactionId, str] = OrderedDict()

    def has(self, area: Area) -> bool:
        """Whether a rule is about this area."""
        return bool(self._armed[area])

    def strikes(
        self,
        area: Area,
        detail: str = "",
        names: Sequence[str] = (),
        transaction_id: TransactionId | None = None,
        *,
        flow: str = "",
        unable: Iterable[str] = (),
    ) -> Rule | None:
        """What befalls a call that comes now: the first rule that says so. It is told.

        Every rule about it counts the call. `unable` are kinds that cannot befall this call, though
        they can others at such a place; these do not. Without `flow` it is what was remembered.
        """
        armed = self._armed[area]
        if not armed:
            return None
        struck = [
            each.rule
            for each in armed
            if each.rule.place.is_at(names, detail)
            and each.rule.kind.happens_at(area, detail)
            and each.rule.kind.name not in unable
            and each.rule.flow in {"", flow or self._flow_of(transaction_id)}
            and each.strikes()
        ]
        if not struck:
            return None
        self.tell(struck[0], transaction_id)
        return struck[0]

    def tell(self, rule: Rule, transaction_id: TransactionId | None = None) -> None:
        """A fault is brought about."""
        self._observer.injected(rule.kind.name, rule.place.text, transaction_id or "")

    def commit_point(self, point: str) -> None:
        """For the store's writer thread: raises what the database says to a group there."""
        for armed in self._armed[Area.COMMIT]:
            rule = armed.rule
            here = rule.place.is_at((), point) and rule.kind.happens_at(Area.COMMIT, point)
            if here and armed.strikes():
                assert self._loop is not None, "it has such rules"
                self._loop.call_soon_threadsafe(self.tell, rule)
                errors = DATABASE_FAULTS[rule.kind.name].errors
                error = errors[armed.seen % len(errors)]()
                raise error

    def remember(self, transactions: Iterable[Transaction]) -> None:
        """These follow flows that rules may ask about."""
        if not self._by_flow:
            return
        for each in transactions:
            self._flows[each.id] = each.flow
            self._flows.move_to_end(each.id)
        while len(self._flows) > MAX_FLOWS:
            self._flows.popitem(last=False)

    def _flow_of(self, transaction_id: TransactionId | None) -> str:
        return "" if transaction_id is None else self._flows.get(transaction_id, "")
