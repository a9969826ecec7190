"""The tables of the RPC layer are complete, and the docs know every reason code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from buf.validate import validate_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from kessai.admin.v1 import admin_pb2
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain import errors, operator_errors
from coordinator.domain.machine import State
from coordinator.domain.permitted import WaitCode
from coordinator.domain.transaction import StepStatus
from coordinator.engine import accept, capture, shares
from coordinator.engine.operate import flows, resolve
from coordinator.rpc import admin, admin_mapping, gate, mapping, parts
from coordinator.rpc.errors import (
    INTERNAL_MESSAGE,
    NEVER_REPEATED,
    REPEATABLE,
    STATUS,
    status_of,
)

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


ABSTRACT = {errors.CallerError, operator_errors.NotAllowed}


def kessai_errors() -> list[type[errors.KessaiError]]:
    modules = (errors, operator_errors)
    found = [item for each in modules for _name, item in inspect.getmembers(each, inspect.isclass)]
    return [item for item in dict.fromkeys(found) if issubclass(item, errors.CallerError)]


def test_every_error_a_caller_can_meet_has_a_status_and_a_page() -> None:
    concrete = [item for item in kessai_errors() if item not in ABSTRACT]
    assert len(concrete) > 8
    for kind in [*concrete, errors.StoreUnavailable]:
        assert kind in STATUS, kind
        assert f"| {kind.code} | {STATUS[kind].name}" in DOCS, kind


def test_only_unavailable_may_be_retried_blindly() -> None:
    kinds = {kind for kind, status in STATUS.items() if status is grpc.StatusCode.UNAVAILABLE}
    assert kinds == {errors.StoreUnavailable, errors.ShuttingDown, errors.FlowPaused}


def test_what_would_be_refused_again_does_not_ask_to_be_repeated() -> None:
    changed = status_of(operator_errors.ChangedMeanwhile("t1", 4, ["bob: hold"]))
    assert [detail.Is(ErrorInfo.DESCRIPTOR) for detail in changed.details] == [True]


def test_the_page_says_what_may_be_repeated() -> None:
    for kind, status in STATUS.items():
        repeated = status in REPEATABLE and kind not in NEVER_REPEATED
        assert (f"| {kind.code} | {status.name} + RetryInfo |" in DOCS) == repeated, kind


@pytest.mark.parametrize(
    "error", [RuntimeError("tok_secret"), errors.Bug("tok_secret"), KeyError("tok_secret")]
)
def test_our_own_bugs_tell_a_caller_nothing(error: Exception) -> None:
    status = status_of(error)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, status.message) == ("INTERNAL", INTERNAL_MESSAGE)
    assert "tok_secret" not in str(status)


def rules() -> set[str]:
    """Every rule that our requests carry, as protovalidate names it."""
    found: set[str] = set()
    for file in (pb.DESCRIPTOR, admin_pb2.DESCRIPTOR):
        for field in (f for m in file.message_types_by_name.values() for f in m.fields):
            extension: Any = validate_pb2.field
            options: Any = field.GetOptions().Extensions[extension]
            found |= {"required"} if options.required else set()
            kind = options.WhichOneof("type")
            names = (
                [item.name for item, _value in getattr(options, kind).ListFields()] if kind else []
            )
            found |= {f"{kind}.{name}" for name in names}
    return found


def test_every_pattern_of_our_protos_is_said_in_words() -> None:
    used = set()
    for file in (pb.DESCRIPTOR, admin_pb2.DESCRIPTOR):
        for field in (f for m in file.message_types_by_name.values() for f in m.fields):
            extension: Any = validate_pb2.field
            options: Any = field.GetOptions().Extensions[extension]
            for rules_ in (options, options.repeated.items):
                used |= {rules_.string.pattern} - {""}
    assert len(used) > 5
    assert used <= gate.PATTERNS.keys()


def test_a_pattern_that_is_broken_is_told_in_words() -> None:
    request = admin_pb2.HoldTransactionRequest(transaction_id=str(UUID(int=1)), reason="  ")
    with pytest.raises(errors.InvalidRequest) as caught:
        gate.validate(request)
    [violation] = caught.value.violations
    assert (violation.field, violation.code) == ("reason", "BAD_FORMAT")
    assert "one line" in violation.message
    assert "regex" not in violation.message


def test_a_list_with_far_too_many_items_is_refused_without_a_look_at_them() -> None:
    request = pb.CreatePaymentRequest(tenders=[pb.Tender()] * 30_000)
    with pytest.raises(errors.InvalidRequest) as caught:
        gate.validate(request)
    [violation] = caught.value.violations
    assert (violation.field, violation.code) == ("tenders", "TOO_MANY")
    split = pb.Split(in_order=pb.Split.InOrder(methods=["card_charge"] * 100))
    with pytest.raises(errors.InvalidRequest) as caught:
        gate.validate(pb.CapturePaymentRequest(split=split))
    assert [each.field for each in caught.value.violations] == ["split.in_order.methods"]


def test_no_rule_allows_as_many_items_as_are_never_looked_at() -> None:
    allowed = []
    for file in (pb.DESCRIPTOR, admin_pb2.DESCRIPTOR):
        for message in file.message_types_by_name.values():
            for field in (*message.fields, *(f for n in message.nested_types for f in n.fields)):
                extension: Any = validate_pb2.field
                options: Any = field.GetOptions().Extensions[extension]
                allowed.append(options.repeated.max_items)
    assert 0 < max(allowed) <= gate.MOST_ITEMS


@pytest.mark.parametrize("count", [1, 5, 28, 300])
def test_a_refusal_fits_into_what_clients_take_of_headers(count: int) -> None:
    wrong = [
        errors.Violation(f"tenders[{number}].amount.minor_units", "OUT_OF_RANGE", "ö" * 60)
        for number in range(count)
    ]
    status = status_of(errors.InvalidRequest(wrong))
    percent_encoded = sum(3 if ord(each) > 127 else 1 for each in status.message) * 2
    assert percent_encoded + 4 * status.ByteSize() / 3 < 8 * 1024
    named = BadRequest()
    assert status.details[1].Unpack(named)
    told = [each.reason for each in named.field_violations]
    assert told == ["OUT_OF_RANGE"] * count or told[-1] == "MORE"
    assert "OUT_OF_RANGE" in told
    if told[-1] == "MORE":
        assert f"{count - len(told) + 1} more fields" in status.message


RANGES = {"int64.gt": "int64.gt_lte", "int64.lte": "int64.gt_lte"} | {
    "int32.gte": "int32.gte_lte",
    "int32.lte": "int32.gte_lte",
}


def test_every_rule_of_our_protos_has_a_stable_code() -> None:
    used = {RANGES.get(rule, rule) for rule in rules()} - {"repeated.items"}
    assert len(used) > 8
    assert used <= gate.CODES.keys()
    for code in set(gate.CODES.values()):
        assert code in DOCS, code


def test_every_violation_of_a_payment_is_documented() -> None:
    source = "".join(inspect.getsource(each) for each in (accept, capture, mapping, parts, shares))
    codes = re.findall(r'(?:Violation\(|, code = )[^"]*(?:"[^"]*", )?"([A-Z][A-Z_]+)"', source)
    assert len(codes) > 12
    for code in codes:
        assert code in DOCS, code


def test_every_violation_of_an_operators_call_is_documented() -> None:
    source = "".join(inspect.getsource(each) for each in (admin, admin_mapping, resolve, flows))
    codes = re.findall(r'Violation\([^"]*"[^"]*", "([A-Z_]+)"', source)
    codes += re.findall(r'Violation\(field, "([A-Z_]+)"', source)
    assert set(codes) >= {"UNKNOWN_PHASE", "UNKNOWN_FLOW", "UNKNOWN_PARTICIPANT", "CARD_NUMBER"}
    for code in codes:
        assert code in DOCS, code


def test_every_wait_and_refusal_of_an_operator_is_on_the_page() -> None:
    page = (ROOT / "docs" / "admin.md").read_text(encoding="utf-8")
    for code in WaitCode:
        assert code.value in page, code
    for method in admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods:
        assert method.name in page, method.name


def test_every_value_of_an_operators_enums_has_its_number() -> None:
    tables: list[tuple[Any, Any]] = [
        (admin_pb2.OperatorAction, admin_mapping.ACTIONS),
        (admin_pb2.StepAnswer, admin_mapping.ANSWERS),
        (admin_pb2.BreakerState, admin_mapping.BREAKERS),
        (admin_pb2.Reachability, admin_mapping.REACHABILITIES),
        (admin_pb2.CheckStatus, admin_mapping.CHECKS),
    ]
    for enum, table in tables:
        assert sorted(table.values()) == sorted(enum.values())[1:]


def test_every_state_and_status_has_its_number() -> None:
    assert {pb.PaymentState.Name(mapping.STATES[state])[14:] for state in State} == set(State)
    assert {pb.StepStatus.Name(mapping.STATUSES[item])[12:] for item in StepStatus} == set(
        StepStatus
    )
    assert len(pb.PaymentState.values()) == len(State) + 1
    assert len(pb.StepStatus.values()) == len(StepStatus) + 1
