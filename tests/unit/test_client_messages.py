"""The short ways to write messages, what states mean, and that both clients are alike."""

from __future__ import annotations

import inspect

import grpc
import kessai
import pytest
from kessai.payments.v1 import payments_pb2 as pb

from tests.support.client_stub import stub_server


def test_money_and_tenders_are_the_messages_themselves() -> None:
    money = kessai.money("USD", 400)
    assert money == pb.Money(currency_code="USD", minor_units=400)
    assert kessai.yen(400) == pb.Money(currency_code="JPY", minor_units=400)
    assert kessai.tender("points_reserve", "alice", money) == pb.Tender(
        method="points_reserve", source="alice", amount=money
    )
    assert kessai.item("stock_reserve", "a") == pb.Item(phase="stock_reserve", item_id="a")


def test_money_takes_whole_minor_units_only() -> None:
    with pytest.raises(TypeError):
        kessai.yen(1.5)  # type: ignore[arg-type]


def test_each_split_sets_its_rule() -> None:
    assert kessai.pro_rata().WhichOneof("rule") == "pro_rata"
    assert kessai.in_order("b", "a").in_order.methods == ["b", "a"]
    shares = kessai.exactly(a=kessai.yen(1), b=kessai.yen(2)).exact.shares
    assert [(share.method, share.amount.minor_units) for share in shares] == [("a", 1), ("b", 2)]


SETTLED = {"PAID", "FAILED", "REFUNDED", "SUCCEEDED"}


@pytest.mark.parametrize(
    "thing",
    [
        *(pb.Payment(state=name) for name, _number in pb.PaymentState.items()),
        *(pb.Refund(state=name) for name, _number in pb.RefundState.items()),
    ],
    ids=lambda thing: f"{type(thing).__name__}-{kessai.state_name(thing)}",
)
def test_states_have_names_and_some_are_settled(thing: pb.Payment | pb.Refund) -> None:
    assert kessai.is_settled(thing) == (kessai.state_name(thing) in SETTLED)


def test_a_state_of_a_newer_server_has_a_name_too_and_is_not_settled() -> None:
    payment = pb.Payment(state=99)  # type: ignore[arg-type]
    assert kessai.state_name(payment) == "UNKNOWN(99)"
    assert not kessai.is_settled(payment)


def test_a_manual_reservation_and_an_action_of_the_customer_wait_for_somebody() -> None:
    held = pb.Payment(state=pb.PAYMENT_STATE_RESERVED)
    assert not kessai.waits_for_somebody(held)
    held.capture = pb.CAPTURE_MODE_MANUAL
    assert kessai.waits_for_somebody(held)
    assert not kessai.waits_for_somebody(
        pb.Payment(state=pb.PAYMENT_STATE_CREATED, capture=pb.CAPTURE_MODE_MANUAL)
    )
    action = pb.NextAction(kind="redirect", url="https://bank.example/3ds")
    acting = pb.Payment(state=pb.PAYMENT_STATE_CREATED, steps=[pb.Step(next_action=action)])
    assert kessai.waits_for_somebody(acting)
    assert kessai.next_actions(acting) == [action]


def public(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(value)
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def plain(signature: inspect.Signature) -> str:
    """A signature without what asyncio has to change."""
    return str(signature).replace("AsyncGenerator", "Generator").replace(", None, None]", ", None]")


def test_both_clients_have_the_same_methods_with_the_same_words() -> None:
    ours, twins = public(kessai.Client), public(kessai.AsyncClient)
    assert ours.keys() == twins.keys()
    for name, signature in ours.items():
        assert plain(signature) == plain(twins[name]), name
        assert inspect.getdoc(getattr(kessai.Client, name)) == inspect.getdoc(
            getattr(kessai.AsyncClient, name)
        ), name


def test_a_client_covers_every_method_of_the_service() -> None:
    service = pb.DESCRIPTOR.services_by_name["PaymentService"]
    snake = {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in method.name).lstrip("_")
        for method in service.methods
    }
    assert snake <= public(kessai.Client).keys()


@pytest.mark.parametrize("kind", [kessai.Client, kessai.AsyncClient])
def test_a_client_that_cannot_work_is_refused_at_once(
    kind: type[kessai.Client | kessai.AsyncClient],
) -> None:
    with pytest.raises(ValueError, match="address"):
        kind()
    with pytest.raises(ValueError, match="api_key"):
        kind("127.0.0.1:1", api_key="a\nb")
    with pytest.raises(ValueError, match="timeout_s"):
        kind("127.0.0.1:1", timeout_s=0)


def test_tls_credentials_are_used() -> None:
    credentials = grpc.ssl_channel_credentials()
    with (
        stub_server() as stub,
        kessai.Client(stub.address, credentials=credentials, retry=kessai.NO_RETRY) as client,
        pytest.raises(kessai.Unavailable),  # the stub speaks plaintext
    ):
        client.get_payment("x")
    assert stub.asked == []
