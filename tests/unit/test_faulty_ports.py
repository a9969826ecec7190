"""What the wrappers of the ports do to a call, on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest

from adapters.memory import MemoryPublisher
from coordinator.domain.decide import Call
from coordinator.domain.errors import PublishFailed, StoreUnavailable
from coordinator.domain.machine import Event, State
from coordinator.domain.moves import advance
from coordinator.domain.outcome import Applied, Outcome, Pending, Refused, Unknown
from coordinator.domain.phase import Operation
from coordinator.ports import Committed
from fault_injection.faults.participant import FaultyParticipant
from fault_injection.faults.publisher import FaultyPublisher
from fault_injection.faults.store import FaultyStore
from fault_injection.model_participant import Held, LoseReply, ModelParticipant, Script, no_faults
from fault_injection.simulation.database_faults import DATABASE_FAULTS
from fault_injection.virtual_time import VirtualClock, run
from fault_injection.world import Recorder
from phases.registry import PHASES
from tests.support.domain import BOTH, ID, NOW, opened, standing
from tests.support.faulty import injection
from tests.support.stores import SqliteStores
from tests.support.transactions import creation
from tests.support.transactions import opened as opened_now

T = TypeVar("T")
CARD = "card_charge"
KEY = (ID, CARD)
TIMED_OUT = Unknown("DEADLINE_EXCEEDED", "injected on purpose")


def call(operation: Operation, phase: str = CARD) -> Call:
    return Call(PHASES[phase], operation, opened().transaction.step(phase), 2.0)


class Bench:
    """A model participant behind rules, on virtual time."""

    def __init__(self, rules: str, script: Script = no_faults) -> None:
        self.clock = VirtualClock()
        self.observer = Recorder()
        self.model = ModelParticipant(self.clock, script)
        made = injection(rules, clock=self.clock, observer=self.observer)
        self.faulty = FaultyParticipant("card", self.model, made)

    async def ask(self, operation: Operation, phase: str = CARD) -> Outcome:
        return await self.faulty.perform(ID, call(operation, phase), NOW)

    @property
    def held(self) -> Held | None:
        return self.model.records.get(KEY)


def played(
    rules: str, play: Callable[[Bench], Awaitable[T]], script: Script = no_faults
) -> tuple[T, Bench]:
    """What `play` returns, and the bench it played on."""

    async def program() -> tuple[T, Bench]:
        bench = Bench(rules, script)
        return await play(bench), bench

    return run(program())


async def confirmed(bench: Bench) -> tuple[Outcome, Outcome, float]:
    """A Try, then a Confirm, and how many seconds that one took."""
    tried = await bench.ask(Operation.TRY)
    began = bench.clock.monotonic()
    outcome = await bench.ask(Operation.CONFIRM)
    return tried, outcome, bench.clock.monotonic() - began


def test_a_lost_request_has_no_effect_and_times_out() -> None:
    told, bench = played("request-lost@card_charge/confirm", confirmed)
    assert told == (Applied(), TIMED_OUT, 2.0)
    assert bench.held is Held.HELD
    assert bench.observer.injections == [("request-lost", "card_charge/confirm", ID)]


def test_a_lost_reply_has_its_effect_and_times_out() -> None:
    told, bench = played("reply-lost@card/confirm", confirmed)
    assert told == (Applied(), TIMED_OUT, 2.0)
    assert bench.held is Held.CONFIRMED


def test_a_late_request_arrives_after_its_caller_gave_up() -> None:
    async def play(bench: Bench) -> tuple[Held | None, Held | None]:
        await confirmed(bench)
        before = bench.held
        await bench.clock.sleep(8.1)
        return before, bench.held

    told, _ = played("very-late@card/confirm,duration_s=10", play)
    assert told == (Held.HELD, Held.CONFIRMED)


def test_a_request_that_is_delivered_twice_is_answered_and_arrives_again_later() -> None:
    async def play(bench: Bench) -> tuple[Outcome, int, int]:
        outcome = await bench.ask(Operation.TRY)
        before = len(bench.model.calls)
        await bench.clock.sleep(5.1)
        return outcome, before, len(bench.model.calls)

    told, bench = played("delivered-twice@card/try,duration_s=5", play)
    assert told == (Applied(), 1, 2)
    assert bench.model.effects[(*KEY, Operation.TRY)] == 1


@pytest.mark.parametrize(("wait_s", "order"), [(0.0, "cancel, try"), (9.0, "try, cancel")])
def test_an_overtaken_request_arrives_just_after_the_next_one_if_there_is_one_in_time(
    wait_s: float, order: str
) -> None:
    async def play(bench: Bench) -> tuple[Outcome, str]:
        tried = await bench.ask(Operation.TRY)
        await bench.clock.sleep(wait_s)
        await bench.ask(Operation.CANCEL)
        await bench.clock.sleep(0.1)
        return tried, ", ".join(operation for _, _, operation in bench.model.calls)

    told, bench = played("overtaken@card/try,duration_s=8", play)
    assert told == (TIMED_OUT, order)
    assert bench.held is Held.CANCELLED


def test_a_slow_answer_comes_in_time_and_one_that_is_too_slow_does_not() -> None:
    assert played("slow@card/confirm", confirmed)[0] == (Applied(), Applied(), 1.0)
    told, bench = played("slow@card/confirm,duration_s=2", confirmed)
    assert told == (Applied(), TIMED_OUT, 2.0)
    assert bench.held is Held.CONFIRMED


def test_an_outage_loses_everything_for_a_while() -> None:
    async def play(bench: Bench) -> list[Outcome]:
        found = []
        for pause_s in (0.0, 0.0, 3.0, 0.0):
            await bench.clock.sleep(pause_s)
            found.append(await bench.ask(Operation.TRY))
        return found

    told, _ = played("outage@card,nth=2,duration_s=6", play)
    assert told == [Applied(), TIMED_OUT, TIMED_OUT, Applied()]


async def tried_again(bench: Bench) -> tuple[Outcome, Outcome]:
    return await bench.ask(Operation.TRY), await bench.ask(Operation.TRY)


def test_a_refused_try_holds_nothing_and_never_will() -> None:
    (first, second), bench = played("refused@card/try,nth=1", tried_again)
    assert isinstance(first, Refused)
    assert first.code == "REFUSED_ON_PURPOSE"
    assert isinstance(second, Refused)
    assert bench.held is Held.CANCELLED


def test_a_try_that_took_hold_is_let_go_before_it_is_told_as_refused() -> None:
    (_, refused), bench = played(
        "refused@card/try,nth=2",
        tried_again,
        lambda _id, call, nth: (
            LoseReply() if call.operation is Operation.TRY and nth == 1 else None
        ),
    )
    assert isinstance(refused, Refused)
    assert bench.held is Held.CANCELLED
    assert bench.model.effects[(*KEY, Operation.CANCEL)] == 1


def test_a_confirm_that_took_effect_is_never_told_as_refused() -> None:
    async def play(bench: Bench) -> Outcome:
        await bench.ask(Operation.TRY)
        await bench.ask(Operation.CONFIRM)
        return await bench.ask(Operation.CONFIRM)

    outcome, bench = played("refused@card/confirm,nth=2", play)
    assert outcome == Applied()
    assert bench.held is Held.CONFIRMED


def test_a_confirm_that_cannot_be_refused_is_not_even_counted() -> None:
    phase = next(n for n, p in PHASES.items() if p.participant and not p.confirm_refusable)

    async def play(bench: Bench) -> Outcome:
        await bench.ask(Operation.TRY, phase)
        return await bench.ask(Operation.CONFIRM, phase)

    outcome, bench = played("refused@participants/confirm", play)
    assert outcome == Applied()
    assert bench.observer.injections == []


def test_a_pending_try_is_decided_after_a_while() -> None:
    async def play(bench: Bench) -> list[Outcome]:
        found = [await bench.ask(Operation.TRY), await bench.ask(Operation.QUERY)]
        await bench.clock.sleep(1.5)
        return [*found, await bench.ask(Operation.QUERY)]

    told, bench = played("pending@card", play)
    assert told == [Pending(), Pending(), Applied()]
    assert bench.held is Held.HELD


def test_a_rule_of_a_flow_strikes_only_transactions_that_the_store_has_shown_to_follow_it() -> None:
    async def program() -> list[Outcome]:
        clock = VirtualClock()
        made = injection(f"reply-lost@card,flow={BOTH.name}", clock=clock)
        faulty = FaultyParticipant("card", ModelParticipant(clock), made)
        before = await faulty.perform(ID, call(Operation.TRY), NOW)
        made.remember([opened().transaction])
        return [before, await faulty.perform(ID, call(Operation.TRY), NOW)]

    assert run(program()) == [Applied(), TIMED_OUT]


@pytest.mark.parametrize(
    ("kind", "taken"), [("broker-away", False), ("request-lost", False), ("reply-lost", True)]
)
def test_a_broker_that_fails_has_taken_the_event_or_has_not(kind: str, taken: bool) -> None:
    [event] = advance(standing(State.SETTLING), BOTH, (Event.PAY,), NOW).events

    async def program() -> dict[str, bytes]:
        memory = MemoryPublisher()
        clock = VirtualClock()
        faulty = FaultyPublisher(memory, injection(f"{kind}@publisher,nth=1", clock=clock))
        with pytest.raises(PublishFailed):
            await faulty.publish(event)
        return dict(memory.published)

    assert bool(run(program())) is taken


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        ("commit-failed@store,nth=1", False),
        ("commit-unheard@store/commit,nth=1", True),
        ("database-away@store/commit,nth=1", False),
    ],
)
def test_a_store_that_fails_has_written_the_commit_or_has_not(rule: str, written: bool) -> None:
    async def program() -> bool:
        stores = SqliteStores(None)
        async with stores.open() as store:
            change = creation()
            observer = Recorder()
            faulty = FaultyStore(store, injection(rule, clock=VirtualClock(), observer=observer))
            with pytest.raises(StoreUnavailable) as failed:
                await faulty.commit(change)
            assert failed.value.detail == "injected on purpose"
            assert [kind for kind, _, _ in observer.injections] == [rule.partition("@")[0]]
            return await store.get(change.after.id) is not None

    assert run(program()) is written


def test_a_database_that_is_away_answers_nothing_until_it_is_back() -> None:
    async def program() -> None:
        stores, clock = SqliteStores(None), VirtualClock()
        async with stores.open() as store:
            made = injection("database-away@store,nth=2,duration_s=5", clock=clock)
            faulty = FaultyStore(store, made)
            await faulty.ping()
            for ask in (faulty.ping, faulty.census, faulty.pauses):
                with pytest.raises(StoreUnavailable):
                    await ask()
            await clock.sleep(5)
            await faulty.ping()

    run(program())


@pytest.mark.parametrize(
    "rule",
    [
        "commit-failed@commit/before_commit,nth=1",
        "commit-unheard@commit,nth=1",
        "deadlock@commit,count=4",
        "serialization-failure@commit,nth=1",
    ],
)
def test_a_fault_at_a_point_of_a_commit_is_settled_by_the_store_itself(rule: str) -> None:
    async def program() -> Recorder:
        stores, observer = SqliteStores(None), Recorder()
        made = injection(rule, clock=VirtualClock(), observer=observer)
        async with stores.open(faults=made.commit_point) as store:
            assert isinstance(await store.commit(creation()), Committed)
        return observer

    kind, _, place = rule.partition(",")[0].partition("@")
    injected = run(program()).injections
    assert set(injected) == {(kind, place, "")}


@pytest.mark.parametrize("kind", DATABASE_FAULTS)
def test_every_error_that_the_simulated_database_can_give_can_be_injected(kind: str) -> None:
    async def program() -> list[str]:
        stores, observer = SqliteStores(None), Recorder()
        made = injection(f"{kind}@commit,count=9", clock=VirtualClock(), observer=observer)
        async with stores.open(faults=made.commit_point) as store:
            with suppress(StoreUnavailable):
                await store.commit(creation())
        return [each for each, _, _ in observer.injections]

    assert set(run(program())) == {kind}


def test_a_rule_of_a_flow_strikes_only_commits_of_that_flow() -> None:
    async def program() -> list[str]:
        stores, observer = SqliteStores(None), Recorder()
        rule = "commit-failed@store/commit,flow=points_only"
        async with stores.open() as store:
            made = injection(rule, clock=VirtualClock(), observer=observer)
            faulty = FaultyStore(store, made)
            await faulty.commit(creation())
            with pytest.raises(StoreUnavailable):
                await faulty.commit(creation(opened_now(flow="points_only")))
        return [kind for kind, _, _ in observer.injections]

    assert run(program()) == ["commit-failed"]
