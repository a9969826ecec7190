"""The state machine: rules act on the real engine, and the reference judges every answer and row.

Callers, participants, operators, processes and time take turns as hypothesis likes. Whatever is
asked is asked of the reference too; after every rule it looks at all rows and all ledgers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from coordinator.domain.ids import TransactionId
from coordinator.domain.money import Money
from coordinator.domain.permitted import StepAnswer
from coordinator.domain.phase import Operation
from coordinator.domain.split import Exact, InOrder, ProRata, Split
from coordinator.domain.transaction import Failure, Tender
from coordinator.engine.accept import Item, NewPayment, OrderConflict
from coordinator.engine.capture import NewCapture
from coordinator.engine.operate.desk import Order
from coordinator.engine.operate.flows import FlowDesk
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from fault_injection.model_participant import Defer, Fault, Late, LoseReply, LoseRequest, Refuse
from fault_injection.reference import answers
from fault_injection.reference.book import Book, require
from fault_injection.reference.rules import AFTER, ENDED, MAX_MINOR, OPEN, PAID, Wanted, between
from fault_injection.reference.seen import Create, GiveBack, Take
from fault_injection.stage import NO_ANSWER, Answer, Asking, Stage
from fault_injection.world import FLOWS, LEASE_S, World
from phases.registry import PHASES

CALLERS = ("shop", "rival")
OPERATORS = ("alice", "bob")
CALLED = sorted(name for name, phase in PHASES.items() if phase.participant)
PARTICIPANTS = sorted({phase.participant for phase in PHASES.values()} - {""})
NOBODY = "00000000-0000-7000-8000-00000000ffff"
"""A transaction that there is not."""
LOST: tuple[Fault, ...] = (LoseReply(), LoseRequest(), Late(70.0))
FAULTS: tuple[tuple[Operation, Fault], ...] = (
    *((Operation.CONFIRM, fault) for fault in (*LOST, Late(1.0), Refuse(), LoseReply())),
    *((Operation.TRY, fault) for fault in (*LOST, Late(1.0), Refuse(), Defer(1.5), Defer(40.0))),
    *((Operation.CANCEL, fault) for fault in LOST),
    (Operation.QUERY, LoseRequest()),
)
"""What may befall which calls."""
AMOUNTS = (1000, 1, 3, 7, MAX_MINOR, MAX_MINOR + 1)
"""Of a whole payment; of 1 each tender gets at least that much."""
RESERVATIONS_S = (900.0, 30.0, 5.0, 7 * 86_400.0)
CHANGES = ("amount", "order", "source", "manual", "flow")
"""What may be otherwise in a body whose key was used before."""

HOW = (0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8)
"""How a part is asked for (`some_part`): sense more often than nonsense."""

which = st.integers(0, 63)
"""Picks one of those there are."""
then_s = st.sampled_from((0.0, 0.02, 3.0))
"""How long nobody asks anything after a question, in seconds."""


def some_part(first: int, size: int, how: int) -> Callable[[list[str], int], Wanted]:
    """Builds a part of a payment from its tenders and what it is of, sensible or not."""

    def build(methods: list[str], whole: int) -> Wanted:
        one = methods[first % len(methods)]
        minor = (whole // 3 or 1, 1, whole, whole + 1, whole // 2 or 1, MAX_MINOR)[size]
        match how:
            case 0:
                return Wanted()
            case 1:
                return Wanted(minor)
            case 2:
                return Wanted(minor, first=(one,))
            case 3:
                return Wanted(None if size % 2 else minor, exact=((one, minor),))
            case 4:
                spread = tuple((method, minor) for method in sorted(methods))
                return Wanted(exact=spread)
            case 5:
                return Wanted(minor, first=(one, one))
            case 6:
                return Wanted(minor, first=("nothing",))
            case 7:
                return Wanted(minor + 1, exact=((one, minor),))
            case _:
                return Wanted(minor, currency="USD")

    return build


some_parts = st.builds(some_part, st.integers(0, 3), st.integers(0, 5), st.sampled_from(HOW))


def part_of(wanted: Wanted) -> Part:
    """What the engine is asked for."""
    split: Split = ProRata()
    if wanted.exact is not None:
        split = Exact(dict(wanted.exact))
    elif wanted.first is not None:
        split = InOrder(wanted.first)
    if wanted.minor is None:
        return Part(None, split)
    where = (("amount.currency_code", wanted.currency),)
    return Part(Money(wanted.minor, wanted.currency), split, where)


def payment_of(create: Create) -> NewPayment:
    """What the engine is asked for."""
    keepers = FLOWS[create.flow].keepers
    conflict = OrderConflict.CANCEL_PREVIOUS if create.supersede else OrderConflict.REJECT
    return NewPayment(
        caller=create.caller,
        idempotency_key=create.key,
        flow=create.flow,
        amount=Money(create.total, "JPY"),
        tenders=tuple(
            Tender(method, f"{create.source}-of-{method}", Money(minor, "JPY"))
            for method, minor in create.tenders
        ),
        items=tuple(Item(phase.name, f"item-of-{phase.name}") for phase in keepers),
        merchant_id="shop-1",
        order_id=create.order,
        order_conflict=conflict,
        manual=create.manual,
        reservation_s=create.reserve_s,
    )


class PaymentMachine(RuleBasedStateMachine):
    """See the head of this module."""

    creates: Bundle[Create] = Bundle("creates")

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.book = Book()
        self.keys = 0
        self.broken = False
        self.told: dict[str, str] = {}
        self.told_before: dict[str, str] = {}
        self.paying: dict[str, Create] = {}
        self.refund_keys: list[GiveBack] = []
        self.take_keys: list[Take] = []

    # Helpers

    def a_key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    def id_of(self, create: Create) -> str:
        return self.book.made.get((create.caller, create.key), NOBODY)

    def aimed(self, create: Create, number: int, states: frozenset[str]) -> Create:
        """This payment, or mostly another one where something can be done: in one of `states`."""
        seen = self.book.seen.get(self.id_of(create))
        able = [thing for thing in self.paying if self.book.seen[thing].state in states]
        if not able or number % 8 == 0 or (seen is not None and seen.state in states):
            return create
        return self.paying[able[number % len(able)]]

    def aimed_thing(self, pick: int) -> str:
        """Any payment or refund, mostly a live one."""
        things = sorted(self.book.seen)
        live = [thing for thing in things if self.book.seen[thing].state not in ENDED]
        among = live if live and pick % 4 else things
        return among[pick % len(among)]

    def process(self, number: int) -> World:
        worlds = self.stage.worlds
        return worlds[number % len(worlds)]

    def require(self, condition: bool, what: str) -> None:
        self.broken = self.broken or not condition
        require(condition, what)

    def look(self) -> None:
        sound, self.broken = not self.broken, True
        self.book.look(self.stage.seen(), self.stage.now_s())
        self.broken = not sound

    def judge(self, what: object, answer: Answer, permitted: set[str], said: str) -> None:
        """The answer is permitted, and what it shows is how things are."""
        if answer.code == NO_ANSWER:
            return
        self.require(said in permitted, f"S11: {what}: {said}, where {sorted(permitted)} may be")
        shown = getattr(answer.value, "transaction", answer.value)
        if shown is not None and hasattr(shown, "state"):
            self.hear(str(shown.id), shown.state.value)

    def ask(self, *asking: Asking) -> list[Answer]:
        """Asks all of it at one instant; whoever does may hear of one thing in any order."""
        self.told_before = dict(self.told)
        return self.stage.ask(*asking)

    def hear(self, thing: str, state: str) -> None:
        """Somebody is told how it stands."""
        seen = self.book.seen[thing]
        before = self.told_before.get(thing, "CREATED")
        path = between(before, seen.state)
        self.require(
            state in path, f"S11: {seen.key} told {before}, then {state}, and is {seen.state}"
        )
        if state in AFTER[self.told.get(thing, "CREATED")]:
            self.told[thing] = state

    def accepted(self, answer: Answer) -> str:
        """What the answer of a create, a capture or a refund says."""
        if answer.code:
            return answer.code
        return answers.SAME if answer.value.replayed else answers.MADE

    # Callers

    def creating(self, create: Create, *processes: World, wait_s: float = 0.0) -> None:
        """Asks for a payment, of each of these at one instant; every answer is judged."""
        self.book.ask_create(create, self.stage.now_s())
        before = self.book.seen
        known = (create.caller, create.key) in self.book.made
        heard = self.ask(*(_accept(each, create, wait_s) for each in processes))
        self.look()
        permitted = answers.may_create(self.book, create, before, known=known)
        if len(processes) > 1:  # the others find what one of them made
            permitted |= {answers.SAME} if answers.MADE in permitted else set()
        made = self.book.made.get((create.caller, create.key))
        for answer in heard:
            said = self.accepted(answer)
            self.judge(create, answer, permitted, said)
            if said in {answers.MADE, answers.SAME}:
                same = answer.code == NO_ANSWER or str(answer.value.transaction.id) == made
                self.require(same, f"S12: key {create.key} made {made} and then another")
                self.book.bodies[self.id_of(create)] = {create.body}
                self.paying[self.id_of(create)] = create
        count = sum(self.accepted(each) == answers.MADE for each in heard)
        self.require(count <= 1, f"S12: key {create.key} made {count} payments")

    @rule(
        target=creates,
        flow=st.sampled_from(sorted(FLOWS)),
        amount=st.sampled_from(AMOUNTS),
        terms=st.tuples(st.booleans(), st.sampled_from(RESERVATIONS_S), st.integers(0, 7)),
        order=st.sampled_from(("", "", "order-1", "order-2")),
        supersede=st.booleans(),
        caller=st.sampled_from((CALLERS[0], *CALLERS)),
        number=which,
        then=then_s,
    )
    def create(
        self,
        *,
        flow: str,
        amount: int,
        terms: tuple[bool, float, int],
        order: str,
        supersede: bool,
        caller: str,
        number: int,
        then: float,
    ) -> Create:
        manual, reserve_s, short = terms
        methods = [phase.name for phase in FLOWS[flow].takers]
        amount = max(amount, len(methods))
        parts = [amount // len(methods)] * len(methods)
        parts[-1] += amount - sum(parts) + (1 if short == 7 else 0)  # now and then it is nonsense
        tenders = tuple(zip(methods, parts, strict=True))
        asked = Create(
            caller, self.a_key(), flow, tenders, amount, order, supersede, manual, reserve_s
        )
        self.creating(asked, self.process(number), wait_s=float(short))
        self.stage.advance(then)
        return asked

    @rule(create=creates, number=which, twice=st.booleans())
    def create_again(self, create: Create, number: int, twice: bool) -> None:
        both = [self.process(number), self.process(number + 1)]
        self.creating(create, *both[: 2 if twice else 1])

    @rule(target=creates, flow=st.sampled_from(sorted(FLOWS)), number=which)
    def create_at_two_tills(self, flow: str, number: int) -> Create:
        methods = [phase.name for phase in FLOWS[flow].takers]
        tenders = tuple((method, 500) for method in methods)
        create = Create(CALLERS[0], self.a_key(), flow, tenders, 500 * len(methods))
        self.creating(create, self.process(number), self.process(number + 1))
        return create

    @rule(create=creates, change=st.sampled_from(CHANGES), number=which)
    def create_otherwise(self, create: Create, change: str, number: int) -> None:
        if self.id_of(create) == NOBODY:
            return  # which of two bodies it was is not always to be seen
        values = {name: getattr(create, name) for name in Create.__slots__}
        match change:
            case "amount":
                method, minor = create.tenders[0]
                values["tenders"] = ((method, minor + 1), *create.tenders[1:])
                values["total"] = create.total + 1
            case "order":
                values["order"] = f"{create.order}x"
            case "source":
                values["source"] = "another"
            case "manual":
                values["manual"] = not create.manual
            case _:
                flow = next(name for name in sorted(FLOWS) if name != create.flow)
                methods = [phase.name for phase in FLOWS[flow].takers]
                values["flow"], values["total"] = flow, len(methods)
                values["tenders"] = tuple((method, 1) for method in methods)
        self.creating(Create(**values), self.process(number))

    def capturing(self, number: int, *takes: Take) -> None:
        """Asks for captures at one instant."""
        for take in takes:
            self.book.ask_capture(take)
        before, start_s = self.book.seen, self.stage.now_s()
        world = self.process(number)
        heard = self.ask(*(_capture(world, take) for take in takes))
        self.look()
        span_s = start_s, self.stage.now_s()
        self.take_keys += takes
        for take, answer in zip(takes, heard, strict=True):
            permitted = answers.may_capture(self.book, take, before, span_s)
            if len(takes) > 1 and answers.MADE in permitted:
                permitted |= {answers.SAME, answers.REUSED, "ALREADY_CAPTURED"}
            self.judge(take, answer, permitted, self.accepted(answer))

    def take(self, create: Create, part: Callable[[list[str], int], Wanted], caller: str) -> Take:
        methods = [method for method, _ in create.tenders]
        wanted = part(methods, create.total)
        return Take(caller, self.a_key(), self.id_of(create), wanted)

    @rule(create=creates, part=some_parts, number=which, stranger=st.integers(0, 9), then=then_s)
    def capture(
        self,
        create: Create,
        part: Callable[[list[str], int], Wanted],
        number: int,
        stranger: int,
        then: float,
    ) -> None:
        create = self.aimed(create, number, frozenset({"RESERVED"}))
        caller = CALLERS[1] if stranger == 9 else create.caller
        self.capturing(number, self.take(create, part, caller))
        self.stage.advance(then)

    @precondition(lambda self: self.take_keys)
    @rule(pick=which, otherwise=st.booleans(), number=which)
    def capture_again(self, pick: int, otherwise: bool, number: int) -> None:
        take = self.take_keys[pick % len(self.take_keys)]
        wanted = Wanted(2) if otherwise else take.wanted
        self.capturing(number, Take(take.caller, take.key, take.payment, wanted))

    @rule(create=creates, part=some_parts, number=which)
    def capture_and_cancel_at_one_instant(
        self, create: Create, part: Callable[[list[str], int], Wanted], number: int
    ) -> None:
        create = self.aimed(create, number, frozenset({"RESERVED"}))
        take, thing = self.take(create, part, create.caller), self.id_of(create)
        self.book.ask_capture(take)
        self.book.asked.cancels.add(thing)
        before, start_s = self.book.seen, self.stage.now_s()
        one, other = self.process(number), self.process(number + 1)
        taken, dropped = self.ask(_capture(one, take), _cancel(other, create.caller, thing))
        self.look()
        span_s = start_s, self.stage.now_s()
        self.take_keys.append(take)
        permitted = answers.may_capture(self.book, take, before, span_s)
        self.judge(take, taken, permitted, self.accepted(taken))
        permitted = answers.may_cancel(self.book, create.caller, thing, before)
        self.judge("cancel", dropped, permitted, dropped.code or answers.DONE)
        if (taken.code, dropped.code) == ("", "") and taken.value is not None:
            both = not taken.value.replayed and dropped.value is not None
            state = self.book.seen[thing].state
            self.require(not both, f"S5: a capture and a cancel of {thing} both won: {state}")

    @rule(create=creates, number=which, stranger=st.integers(0, 9))
    def cancel(self, create: Create, number: int, stranger: int) -> None:
        create = self.aimed(create, number, OPEN)
        caller = CALLERS[1] if stranger == 9 else create.caller
        thing, before = self.id_of(create), self.book.seen
        if caller == create.caller:
            self.book.asked.cancels.add(thing)
        [answer] = self.ask(_cancel(self.process(number), caller, thing))
        self.look()
        permitted = answers.may_cancel(self.book, caller, thing, before)
        self.judge("cancel", answer, permitted, answer.code or answers.DONE)

    def refunding(self, number: int, *backs: GiveBack) -> None:
        """Asks for refunds at one instant."""
        before, made = self.book.seen, set(self.book.made)
        lefts = []
        for back in backs:
            self.book.ask_refund(back)
            paid = before.get(back.payment)
            lefts.append({} if paid is None or paid.payment else self.book.left(back.payment))
        world = self.process(number)
        heard = self.ask(*(_refund(world, back) for back in backs))
        self.look()
        for back, left, answer in zip(backs, lefts, heard, strict=True):
            known = (back.caller, back.key) in made
            permitted = answers.may_refund(self.book, back, before, left, known=known)
            said = self.accepted(answer)
            self.judge(back, answer, permitted, said)
            if said in {answers.MADE, answers.SAME}:
                self.book.bodies[self.book.made[back.caller, back.key]] = {back.body}
        self.refund_keys += backs

    @rule(
        create=creates,
        part=some_parts,
        number=which,
        count=st.integers(1, 3),
        key=st.integers(0, 9),
        then=then_s,
    )
    def refund(
        self,
        *,
        create: Create,
        part: Callable[[list[str], int], Wanted],
        number: int,
        count: int,
        key: int,
        then: float,
    ) -> None:
        create = self.aimed(create, number, PAID)
        wanted = part([method for method, _ in create.tenders], create.total)
        keys = [create.key] if key == 9 else [self.a_key() for _ in range(count)]
        thing = self.id_of(create)
        self.refunding(number, *(GiveBack(create.caller, each, thing, wanted) for each in keys))
        self.stage.advance(then)

    @precondition(lambda self: self.refund_keys)
    @rule(pick=which, otherwise=st.booleans(), number=which)
    def refund_again(self, pick: int, otherwise: bool, number: int) -> None:
        back = self.refund_keys[pick % len(self.refund_keys)]
        if otherwise and (back.caller, back.key) in self.book.made:
            back = GiveBack(back.caller, back.key, back.payment, Wanted(2))
        self.refunding(number, back)

    @precondition(lambda self: self.book.seen)
    @rule(pick=which, number=which)
    def ask_how_it_stands(self, pick: int, number: int) -> None:
        thing = sorted(self.book.seen)[pick % len(self.book.seen)]
        world = self.process(number)
        [answer] = self.ask((world, lambda: world.store.get(TransactionId(thing))))
        self.look()
        self.judge("look", answer, {answers.DONE}, answers.DONE)

    # Participants

    @initialize(
        faults=st.lists(st.tuples(st.sampled_from(CALLED), st.sampled_from(FAULTS)), max_size=8)
    )
    def something_is_wrong_from_the_beginning(
        self, faults: list[tuple[str, tuple[Operation, Fault]]]
    ) -> None:
        for phase, (operation, fault) in faults:
            self.stage.fates[phase, operation].append(fault)

    @rule(
        phase=st.sampled_from(CALLED),
        fault=st.sampled_from(FAULTS),
        times=st.sampled_from((1, 2, 12)),
    )
    def something_befalls_the_next_calls(
        self, phase: str, fault: tuple[Operation, Fault], times: int
    ) -> None:
        self.stage.fates[phase, fault[0]].extend([fault[1]] * times)

    @rule(participant=st.sampled_from(PARTICIPANTS))
    def participant_goes_away(self, participant: str) -> None:
        self.stage.away.add(participant)

    @precondition(lambda self: self.stage.away)
    @rule()
    def participants_come_back(self) -> None:
        self.stage.away.clear()

    @precondition(lambda self: self.book.seen)
    @rule(pick=which, phase=st.sampled_from(CALLED), liar=st.integers(0, 9), number=which)
    def participant_reports(self, pick: int, phase: str, liar: int, number: int) -> None:
        """It decided what was pending, or says that something happened late."""
        thing = self.aimed_thing(pick)
        seen, participant = self.book.seen[thing], PHASES[phase].participant
        self.stage.world.participants[participant].decide_pending((TransactionId(thing), phase))
        who = (
            next(each for each in PARTICIPANTS if each != participant) if liar == 9 else participant
        )
        world = self.process(number)
        [answer] = self.ask((world, lambda: world.report(who, TransactionId(thing), phase)))
        self.look()
        theirs = phase in seen.parts and liar != 9
        permitted = {answers.DONE, "NOT_UNDONE"} if theirs else {answers.NOT_FOUND}
        self.judge("report", answer, permitted, answer.code or answers.DONE)

    # Operators

    @precondition(lambda self: self.book.seen)
    @rule(
        pick=which,
        operator=st.sampled_from(OPERATORS),
        act=st.sampled_from(("hold", "unhold", "resume", "cancel", "resolve")),
        saying=st.tuples(st.integers(0, 7), st.sampled_from(list(StepAnswer))),
        number=which,
    )
    def operator_acts(
        self, pick: int, operator: str, act: str, saying: tuple[int, StepAnswer], number: int
    ) -> None:
        thing, before = self.aimed_thing(pick), self.book.seen
        phases = sorted(before[thing].parts)
        word = phases[saying[0] % len(phases)], saying[1]
        if act == "cancel":
            self.book.asked.stopped.add(thing)
        if act == "resolve":
            self.book.asked.answered.add(thing)
        doing = _operate(self.process(number), act, thing, operator, word)
        [answer] = self.ask(doing)
        self.look()
        permitted = answers.may_operate(self.book, act, operator, thing, before)
        said = answer.code or answers.DONE
        self.judge(f"{operator}: {act}", answer, permitted, said)

    @rule(flow=st.sampled_from(sorted(FLOWS)), again=st.booleans())
    def operator_stops_or_opens_a_flow(self, flow: str, again: bool) -> None:
        world = self.stage.world
        desk = FlowDesk(store=world.store, intake=world.intake, flows=FLOWS, clock=world.clock)
        if again:
            self.ask((world, lambda: desk.resume(flow)))
            self.book.paused.discard(flow)
        else:
            self.ask((world, lambda: desk.pause(flow, "alice", "because")))
            self.book.paused.add(flow)
        self.ask(*((each, each.intake.run_once) for each in self.stage.worlds))

    # Processes

    @rule(down_s=st.sampled_from((0.0, 1.0, LEASE_S + 1.0)), number=which)
    def process_dies(self, down_s: float, number: int) -> None:
        self.stage.crash(self.process(number), down_s)

    @rule(commit=st.integers(1, 4), after=st.booleans(), number=which)
    def process_will_die_at_a_commit(self, commit: int, after: bool, number: int) -> None:
        self.process(number).crash_at(commit, after=after)

    @precondition(lambda self: self.stage.second is None)
    @rule()
    def second_coordinator_comes(self) -> None:
        self.stage.join()

    @precondition(lambda self: self.stage.second is not None)
    @rule()
    def second_coordinator_goes(self) -> None:
        self.stage.leave()

    # Time

    @rule(seconds=st.sampled_from((0.003, 0.3, 2.0, 6.0)))
    def some_seconds_pass(self, seconds: float) -> None:
        self.stage.advance(seconds)

    @rule(seconds=st.sampled_from((35.0, 70.0, 300.0)), asleep=st.integers(0, 7))
    def some_minutes_pass(self, seconds: float, asleep: int) -> None:
        self.stage.advance(seconds, asleep=self.process(1) if asleep == 7 else None)

    @precondition(lambda self: not self.stage.away)
    @rule(days=st.sampled_from((0.1, 1.0, 8.0)))
    def some_days_pass(self, days: float) -> None:
        self.stage.advance(days * 86_400.0)

    # What always holds

    @invariant()
    def nothing_is_otherwise_than_the_reference_allows(self) -> None:
        self.look()
        self.require(
            not self.stage.strangers(), "a participant was asked before anything was durable"
        )

    def teardown(self) -> None:
        """Everything is healed and unheld, and runs to its end; then every check there is."""
        if self.broken:
            return self.stage.close()
        try:
            self.stage.heal()
            for thing, seen in self.book.seen.items():
                if seen.held_by:
                    self.ask(_operate(self.stage.world, "unhold", thing, "alice"))
            self.stage.rest()
            self.look()
        finally:
            self.stage.close()


def _accept(world: World, create: Create, wait_s: float) -> Asking:
    return world, lambda: world.accept(payment_of(create), wait_s)


def _capture(world: World, take: Take) -> Asking:
    new = NewCapture(take.caller, take.key, TransactionId(take.payment), part_of(take.wanted))
    return world, lambda: world.capture(new)


def _refund(world: World, back: GiveBack) -> Asking:
    new = NewRefund(back.caller, back.key, TransactionId(back.payment), part_of(back.wanted))
    return world, lambda: world.refund(new)


def _cancel(world: World, caller: str, thing: str) -> Asking:
    failure = Failure("CANCELLED_BY_CALLER", "changed their mind")
    return world, lambda: world.cancel(caller, TransactionId(thing), failure)


def _operate(
    world: World, act: str, thing: str, operator: str, saying: tuple[str, StepAnswer] | None = None
) -> Asking:
    order, transaction_id = Order(operator, "because"), TransactionId(thing)
    if act == "resolve":
        assert saying is not None, "an operator says something of a phase"
        return world, lambda: world.resolve(transaction_id, *saying, order)
    acts: dict[str, Callable[[TransactionId, Order], Awaitable[object]]] = {
        "hold": world.hold,
        "unhold": world.unhold,
        "resume": world.resume,
        "cancel": world.operator_cancel,
    }
    return world, lambda: acts[act](transaction_id, order)
