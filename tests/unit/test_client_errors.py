"""What the client makes of errors, and when it repeats: no socket, no clock."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import grpc
import kessai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kessai.client import errors
from kessai.client.errors import BY_REASON, BY_STATUS, KessaiError, Problem, error_from
from kessai.client.retry import LEAST_S, Attempts, RetryPolicy
from kessai.payments.v1 import payments_pb2 as pb

DOCS = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")


class Failed:
    """As much of a grpc.RpcError as is read."""

    def __init__(self, status: grpc.StatusCode, details: str = "", trailing: Any = ()) -> None:
        self._all = (status, details, trailing)

    def code(self) -> grpc.StatusCode:
        return self._all[0]

    def details(self) -> str:
        return self._all[1]

    def trailing_metadata(self) -> Any:
        return self._all[2]


def failed(status: str, code: str = "", retry_after_s: float | None = None) -> KessaiError:
    problem = Problem(grpc.StatusCode[status], code or status, "why", retry_after_s=retry_after_s)
    return KessaiError(problem)


OF_REPORTS = {"BAD_SIGNATURE", "NOTICE_EXPIRED", "NOT_UNDONE"}
"""Told to participants that report; PaymentService never says them."""


def documented() -> list[tuple[str, str]]:
    """(reason, status) of docs/errors.md's first table, as far as callers can meet them."""
    table = DOCS.partition("| reason | gRPC status")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+)", table, re.MULTILINE)
    return [row for row in rows if row[0] not in OF_REPORTS]


def test_the_page_of_errors_is_read() -> None:
    assert len(documented()) > 10


@pytest.mark.parametrize(("reason", "status"), documented())
def test_every_documented_reason_has_a_class_below_its_statuss_class(
    reason: str, status: str
) -> None:
    assert issubclass(BY_REASON[reason], BY_STATUS[grpc.StatusCode[status]])


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_an_unknown_reason_comes_out_as_its_statuss_class(status: grpc.StatusCode) -> None:
    error = error_from(Failed(status, "the words"))
    assert type(error) is BY_STATUS.get(status, KessaiError)
    assert (error.code, error.message, error.status) == (status.name, "the words", status)
    assert str(error).endswith("the words")
    assert (dict(error.facts), error.violations, error.retry_after_s) == ({}, (), None)


@pytest.mark.parametrize("trailing", [None, (("grpc-status-details-bin", b"\xff\xff"),)])
def test_details_that_cannot_be_read_do_not_hide_the_status(trailing: Any) -> None:
    assert type(error_from(Failed(grpc.StatusCode.NOT_FOUND, "x", trailing))) is kessai.NotFound


def test_every_class_is_handed_on_by_the_package() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, KessaiError)
    }
    assert classes <= set(dir(kessai))
    for name in classes:
        assert getattr(kessai, name) is getattr(errors, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = kessai.nonsense  # type: ignore[attr-defined]


def test_an_error_survives_the_way_to_another_process() -> None:
    problem = Problem(grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND", "no", {"payment_id": "1"})
    for error in (
        kessai.NotFound(problem),
        kessai.NotSettledYet(problem, pb.Payment(payment_id="1")),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert copy.problem == problem
        assert getattr(copy, "last", None) == getattr(error, "last", None)


@pytest.mark.parametrize("status", [status.name for status in grpc.StatusCode])
def test_only_unavailable_and_what_says_when_is_repeated(status: str) -> None:
    policy = RetryPolicy()
    assert (policy.wait_s(failed(status), 1, 0.5) is not None) == (status == "UNAVAILABLE")
    assert policy.wait_s(failed(status, retry_after_s=1.0), 1, 0.5) is not None


@given(
    asked_s=st.none() | st.floats(0, 60),
    attempt=st.integers(1, 19),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_never_shorter_than_asked_for_and_never_more_than_a_backoff_longer(
    asked_s: float | None, attempt: int, chance: float
) -> None:
    policy = RetryPolicy(max_attempts=20, backoff_s=0.1, backoff_cap_s=2.0)
    wait_s = policy.wait_s(failed("UNAVAILABLE", retry_after_s=asked_s), attempt, chance)
    assert wait_s is not None
    assert wait_s > 0 or asked_s == 0
    assert (asked_s or 0) <= wait_s <= (asked_s or 0) + 2.0


def test_the_backoff_doubles_up_to_its_cap_and_chance_spreads_it() -> None:
    policy = RetryPolicy(max_attempts=10, backoff_s=0.1, backoff_cap_s=0.5)
    least = [policy.wait_s(failed("UNAVAILABLE"), n, 0.0) for n in range(1, 6)]
    most = [policy.wait_s(failed("UNAVAILABLE"), n, 1.0) for n in range(1, 6)]
    assert least == [0.05, 0.1, 0.2, 0.25, 0.25]
    assert most == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_attempts_share_one_deadline_and_end_with_it() -> None:
    attempts = Attempts(RetryPolicy(), deadline_s=110.0)
    assert attempts.left_s(100.0) == 10.0
    assert attempts.left_s(120.0) == 0.0
    error = failed("UNAVAILABLE", retry_after_s=1.0)
    assert attempts.wait_s(error, 100.0, 0.0) == 1.0
    assert attempts.wait_s(error, 110.0 - 1.0 - LEAST_S + 0.01, 0.0) is None


def test_attempts_are_counted_in_a_row() -> None:
    attempts = Attempts(RetryPolicy(max_attempts=2), deadline_s=None)
    error = failed("UNAVAILABLE")
    assert attempts.left_s(1.0) is None
    assert attempts.wait_s(error, 0.0, 0.0) is not None
    attempts.succeeded()
    assert attempts.wait_s(error, 0.0, 0.0) is not None
    assert attempts.wait_s(error, 0.0, 0.0) is None


def test_no_retry_sends_once() -> None:
    assert kessai.NO_RETRY.wait_s(failed("UNAVAILABLE"), 1, 0.0) is None


@pytest.mark.parametrize(
    "values",
    [{"max_attempts": 0}, {"backoff_s": 0.0}, {"backoff_s": 3.0}, {"backoff_cap_s": 0.1}],
)
def test_a_policy_that_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RetryPolicy(**values)
