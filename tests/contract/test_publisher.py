"""What every Publisher promises, over the one in memory and over a real NATS server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from cloudevents.core.formats.json import JSONFormat
from google.protobuf import json_format
from kessai.events.v1 import events_pb2
from kessai.payments.v1 import payments_pb2

from adapters.embedded.nats import EmbeddedNats
from adapters.memory import MemoryPublisher
from adapters.nats import NatsPublisher
from coordinator.domain.errors import PublishFailed
from coordinator.domain.ids import TransactionId, event_id
from coordinator.domain.machine import Event, State
from coordinator.domain.moves import advance, late_success_undone
from coordinator.domain.opening import open_refund
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Failure, OutboxEvent
from coordinator.ports import Publisher
from fault_injection.faults.publisher import FaultyPublisher
from tests.support.domain import BOTH, ID, NOW, standing
from tests.support.faulty import injection
from tests.support.nats import stored

LATER = TransactionId("0197f2a0-0000-7000-8000-000000000002")


def event(state: State = State.PAID, transaction_id: TransactionId = ID) -> OutboxEvent:
    """The announcement the domain itself makes."""
    source, fired = (
        (State.SETTLING, Event.PAY) if state is State.PAID else (State.CANCELLING, Event.FAIL)
    )
    draft = standing(source)
    failure = Failure("NO_FUNDS", "Nicht genug, 残高不足.", "card_charge")
    failed = failure if state is State.FAILED else None
    [made] = advance(draft, BOTH, [fired], NOW, failed).events
    return evolve(made, id=event_id(transaction_id, state), transaction_id=transaction_id)


REFUND = TransactionId("0197f2a0-0000-7000-8000-000000000003")


def refund_event(state: State = State.PAID) -> OutboxEvent:
    """The announcement of a refund of 300 yen, as the domain itself makes it."""
    opened = open_refund(
        standing(State.PAID).transaction,
        transaction_id=REFUND,
        idempotency_key="refund-1",
        request="",
        ordinal=1,
        flow=BOTH.refund,
        shares={"points_reserve": 100, "card_charge": 200},
        now=NOW,
    )
    source, fired = (
        (State.SETTLING, Event.PAY) if state is State.PAID else (State.CANCELLING, Event.FAIL)
    )
    failure = Failure("NO_FUNDS", "Nothing left.", "merchant_credit")
    draft = evolve(opened, transaction=evolve(opened.transaction, state=source))
    failed = failure if state is State.FAILED else None
    [made] = advance(draft, BOTH.refund, [fired], NOW, failed).events
    return made


def late_event(*, of_refund: bool = False) -> OutboxEvent:
    """The announcement that the card's late success was undone."""
    draft = standing(State.FAILED)
    [made] = late_success_undone(draft, draft.transaction.step("card_charge"), NOW).events
    if not of_refund:
        return made
    return evolve(made, transaction_id=REFUND, refund_of=refund_event().refund_of)


class Bench(Protocol):
    """One implementation, and how to look behind it and break it."""

    def run(self, scenario: Callable[[Publisher], Awaitable[None]]) -> None:
        """Runs the scenario with a publisher that has been started."""

    def delivered(self) -> list[bytes]:
        """What a consumer gets."""

    def outage(self) -> None:
        """The broker goes down."""

    def recovery(self) -> None:
        """The broker comes back."""


class MemoryBench:
    def __init__(self) -> None:
        self._publisher = MemoryPublisher()

    def run(self, scenario: Callable[[Publisher], Awaitable[None]]) -> None:
        async def main() -> None:
            await scenario(self._publisher)

        asyncio.run(main())

    def delivered(self) -> list[bytes]:
        return list(self._publisher.published.values())

    def outage(self) -> None:
        self._publisher.available = False

    def recovery(self) -> None:
        self._publisher.available = True


class FaultyBench(MemoryBench):
    """Behind the wrapper that injects faults, with none."""

    def run(self, scenario: Callable[[Publisher], Awaitable[None]]) -> None:
        async def main() -> None:
            await scenario(FaultyPublisher(self._publisher, injection()))

        asyncio.run(main())


class NatsBench:
    def __init__(self, server: EmbeddedNats) -> None:
        self._server = server

    def run(self, scenario: Callable[[Publisher], Awaitable[None]]) -> None:
        async def main() -> None:
            publisher = NatsPublisher(self._server.url, timeout_s=2, reconnect_wait_s=0.05)
            await publisher.start()
            try:
                await scenario(publisher)
            finally:
                await publisher.close()

        asyncio.run(main())

    def delivered(self) -> list[bytes]:
        return [message.body for message in asyncio.run(stored(self._server.url))]

    def outage(self) -> None:
        self._server.stop()

    def recovery(self) -> None:
        self._server.start()


@pytest.fixture(params=["memory", "no faults", "nats"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param != "nats":
        yield MemoryBench() if request.param == "memory" else FaultyBench()
        return
    with EmbeddedNats(tmp_path / "nats") as server:
        yield NatsBench(server)


async def publish_until_taken(publisher: Publisher, what: OutboxEvent) -> None:
    """Offers the event again and again, as the relay does."""
    async with asyncio.timeout(20):
        while True:
            try:
                await publisher.publish(what)
            except PublishFailed:
                await asyncio.sleep(0)  # noqa: TID251 - lets the reconnecting task run
            else:
                return


def test_an_event_published_twice_is_delivered_once(bench: Bench) -> None:
    async def scenario(publisher: Publisher) -> None:
        await publisher.publish(event())
        await publisher.publish(event())
        await publisher.publish(event(transaction_id=LATER))
        await publisher.publish(event())

    bench.run(scenario)
    ids = [json.loads(body)["id"] for body in bench.delivered()]
    assert ids == [event_id(ID, State.PAID), event_id(LATER, State.PAID)]


def test_events_arrive_in_the_order_they_were_published(bench: Bench) -> None:
    refunded = evolve(event(), id=event_id(ID, State.REFUNDED), state=State.REFUNDED)
    order = [event(), event(State.FAILED, LATER), refunded]

    async def scenario(publisher: Publisher) -> None:
        for item in order:
            await publisher.publish(item)

    bench.run(scenario)
    assert [json.loads(b)["id"] for b in bench.delivered()] == [item.id for item in order]


@pytest.mark.parametrize("state", [State.PAID, State.FAILED])
def test_what_arrives_is_a_cloud_event_with_a_settled_payment(bench: Bench, state: State) -> None:
    async def scenario(publisher: Publisher) -> None:
        await publisher.publish(event(state))

    bench.run(scenario)
    [body] = bench.delivered()
    cloud_event = JSONFormat().read(None, body)
    assert cloud_event.get_specversion() == "1.0"
    assert cloud_event.get_id() == event_id(ID, state)
    assert cloud_event.get_type() == f"kessai.payment.{state.lower()}.v1"
    assert cloud_event.get_source() == "kessai"
    assert cloud_event.get_subject() == ID
    assert cloud_event.get_time() == NOW
    assert cloud_event.get_datacontenttype() == "application/json"
    settled = json_format.ParseDict(json.loads(body)["data"], events_pb2.PaymentSettled())
    assert settled.payment_id == ID
    assert settled.state == payments_pb2.PaymentState.Value(f"PAYMENT_STATE_{state}")
    assert (settled.amount.currency_code, settled.amount.minor_units) == ("JPY", 800)
    assert (settled.caller, settled.merchant_id) == ("shop", "merchant-1")
    assert (settled.order_id, settled.customer_id) == ("order-1", "customer-1")
    assert settled.HasField("failure") == (state is State.FAILED)
    if state is State.FAILED:
        assert settled.failure.reason == "Nicht genug, 残高不足."


def test_the_same_event_has_the_same_bytes_whoever_sends_it(bench: Bench) -> None:
    async def scenario(publisher: Publisher) -> None:
        await publisher.publish(event())

    bench.run(scenario)
    other = MemoryPublisher()
    asyncio.run(other.publish(event()))
    assert bench.delivered() == list(other.published.values())


def test_while_the_broker_is_down_publishing_fails_and_afterwards_it_works(bench: Bench) -> None:
    async def scenario(publisher: Publisher) -> None:
        await publisher.publish(event())
        await asyncio.to_thread(bench.outage)
        with pytest.raises(PublishFailed):
            await publisher.publish(event(transaction_id=LATER))
        with pytest.raises(PublishFailed):
            await publisher.publish(event())
        await asyncio.to_thread(bench.recovery)
        await publish_until_taken(publisher, event(transaction_id=LATER))
        await publish_until_taken(publisher, event())

    bench.run(scenario)
    ids = [json.loads(body)["id"] for body in bench.delivered()]
    assert ids == [event_id(ID, State.PAID), event_id(LATER, State.PAID)]


def announced(bench: Bench, what: OutboxEvent) -> tuple[str, str, dict[str, object]]:
    """What arrives of an event: its type, its subject and its data."""

    async def scenario(publisher: Publisher) -> None:
        await publisher.publish(what)

    bench.run(scenario)
    [body] = bench.delivered()
    cloud_event = JSONFormat().read(None, body)
    assert cloud_event.get_id() == what.id
    return cloud_event.get_type(), str(cloud_event.get_subject()), json.loads(body)["data"]


@pytest.mark.parametrize(("state", "name"), [(State.PAID, "succeeded"), (State.FAILED, "failed")])
def test_a_settled_refund_is_announced_as_a_refund(bench: Bench, state: State, name: str) -> None:
    kind, subject, data = announced(bench, refund_event(state))
    assert (kind, subject) == (f"kessai.refund.{name}.v1", REFUND)
    settled = json_format.ParseDict(data, events_pb2.RefundSettled())
    assert (settled.refund_id, settled.payment_id) == (REFUND, ID)
    assert settled.state == payments_pb2.RefundState.Value(f"REFUND_STATE_{name.upper()}")
    assert (settled.amount.currency_code, settled.amount.minor_units) == ("JPY", 300)
    assert (settled.caller, settled.merchant_id) == ("shop", "merchant-1")
    assert (settled.flow, settled.customer_id) == (BOTH.name, "customer-1")
    assert settled.settle_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW
    assert settled.failure.code == ("NO_FUNDS" if state is State.FAILED else "")


@pytest.mark.parametrize("of_refund", [False, True])
def test_a_late_success_that_was_undone_is_announced(bench: Bench, of_refund: bool) -> None:
    kind, subject, data = announced(bench, late_event(of_refund=of_refund))
    of = "refund" if of_refund else "payment"
    transaction_id = REFUND if of_refund else ID
    assert (kind, subject) == (f"kessai.{of}.late_success_undone.v1", transaction_id)
    undone = json_format.ParseDict(data, events_pb2.LateSuccessUndone())
    assert (undone.transaction_id, undone.phase) == (transaction_id, "card_charge")
    assert (undone.amount.currency_code, undone.amount.minor_units) == ("JPY", 400)
    assert undone.caller == "shop"
    assert undone.undo_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW


def test_a_payments_end_and_its_late_success_are_two_events(bench: Bench) -> None:
    both = [event(State.FAILED), late_event()]

    async def scenario(publisher: Publisher) -> None:
        for item in (*both, *both):
            await publisher.publish(item)

    bench.run(scenario)
    assert [json.loads(body)["id"] for body in bench.delivered()] == [item.id for item in both]
