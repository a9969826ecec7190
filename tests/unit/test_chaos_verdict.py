"""The verdict of `kessai chaos` finds what it is there for, each shown on stand-ins."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Self

import pytest
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.events import Announced
from coordinator.domain.machine import State
from fault_injection.chaos import verdict
from fault_injection.chaos.history import History

STACK: Any = SimpleNamespace(
    nats=SimpleNamespace(url=""), address="", keys=SimpleNamespace(api_key="")
)


def told(state: str) -> History:
    history = History()
    history.told("payment", state)
    return history


@pytest.mark.parametrize(
    ("said", "ends", "found"),
    [
        ("RESERVED", {"payment": State.PAID}, False),
        ("PAID", {"payment": State.REFUNDED}, False),
        ("PAID", {"payment": State.FAILED}, True),
        ("CANCELLING", {"payment": State.PAID}, True),
        ("CREATED", {}, True),
    ],
)
def test_what_a_caller_was_told_and_is_no_longer_so_is_found(
    said: str, ends: Mapping[str, State], found: bool
) -> None:
    wrong = verdict.untrue(told(said), ends)
    assert [each.partition(":")[0] for each in wrong] == ["S11"] * found


def test_a_state_that_goes_back_while_a_caller_looks_is_found() -> None:
    history = told("CANCELLING")
    history.told("payment", "PAID")
    assert history.breaks[0].startswith("S11")


PAID, FAILED = Announced("payment", "PAID"), Announced("payment", "FAILED")


@pytest.mark.parametrize(
    ("events", "rules"),
    [
        ({"1": PAID}, []),
        ({}, ["S14"]),
        ({"1": PAID, "2": FAILED}, ["S14"]),
        ({"1": FAILED}, ["S14", "S14"]),
        ({"1": PAID, "2": PAID}, ["S14"]),
    ],
    ids=["sound", "missing", "one too many", "another", "twice"],
)
def test_an_event_that_is_missing_untrue_or_there_twice_is_found(
    monkeypatch: pytest.MonkeyPatch, events: dict[str, Announced], rules: list[str]
) -> None:
    def collect(_url: str, expected: int, _limit_s: float) -> dict[str, Announced]:
        return dict(list(events.items())[:expected])  # it does not look further, as the real one

    monkeypatch.setattr(verdict, "collect", collect)
    wrong = verdict._announced(STACK, {"payment": (State.PAID, True)})
    assert [each.partition(":")[0] for each in wrong] == rules


@pytest.mark.parametrize(
    ("payment_id", "replayed", "found"),
    [("payment", True, False), ("payment", False, True), ("other", True, True)],
)
def test_an_old_key_that_makes_another_payment_is_found(
    monkeypatch: pytest.MonkeyPatch, payment_id: str, replayed: bool, found: bool
) -> None:
    answer = pb.CreatePaymentResponse(replayed=replayed)
    answer.payment.payment_id = payment_id

    class Client:
        def __init__(self, *_where: object) -> None: ...

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_how: object) -> None: ...

        def create(self, _request: object) -> pb.CreatePaymentResponse:
            return answer

    monkeypatch.setattr(verdict, "Client", Client)
    shop: Any = SimpleNamespace(requests={"payment": pb.CreatePaymentRequest()})
    wrong = verdict._repeated(STACK, [shop])
    assert [each.partition(":")[0] for each in wrong] == ["S12"] * found
