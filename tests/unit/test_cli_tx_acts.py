"""`kessai tx hold|unhold|cancel|resolve` against a fake AdminService in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from kessai.admin.v1 import admin_pb2 as pb

from coordinator.cli import asking
from tests.support.cli import FakeAdmin, Kessai, Refusal
from tests.support.operators import NOW, TX, story, transaction, verdict

RESOLVE = (
    *("tx", "resolve", TX, "--step", "card_charge", "--as", "captured"),
    *("--reason", "the processor shows it", "--evidence", "ch_1"),
)
CANCEL = ("tx", "cancel", TX, "--reason", "the till broke down")
CHANGED = Refusal(
    grpc.StatusCode.ABORTED, "CHANGED_MEANWHILE", "transaction changed: bob: hold at 12:00"
)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "on_a_terminal", lambda: True)


def answering(seen: pb.ExplainTransactionResponse, *acts: Any) -> Callable[[Any], Any]:
    """Explains, and answers acts one after the other."""
    left = list(acts)

    def answer(request: Any) -> Any:
        return seen if isinstance(request, pb.ExplainTransactionRequest) else left.pop(0)

    return answer


def acts(admin: FakeAdmin) -> list[Any]:
    return [each for each in admin.asked if not isinstance(each, pb.ExplainTransactionRequest)]


def test_hold_sends_why_and_shows_who_holds_it(admin: FakeAdmin, operate: Kessai) -> None:
    held = transaction(hold=pb.Hold(operator="alice", reason="looking"))
    admin.answer = pb.HoldTransactionResponse(transaction=held, changed=True)
    result = operate("tx", "hold", TX, "--reason", "looking", "--if-version", "17")
    assert result.exit_code == 0, result.output
    assert admin.asked == [
        pb.HoldTransactionRequest(transaction_id=TX, reason="looking", if_version=17)
    ]
    assert "alice: looking" in result.stdout


def test_a_hold_that_was_there_before_is_told(admin: FakeAdmin, operate: Kessai) -> None:
    held = transaction(hold=pb.Hold(operator="bob", reason="mine"))
    admin.answer = pb.HoldTransactionResponse(transaction=held)
    result = operate("tx", "hold", TX, "--reason", "looking")
    assert result.exit_code == 0
    assert "held before, by bob" in result.stderr


@pytest.mark.parametrize("name", ["hold", "cancel"])
def test_an_act_without_a_reason_is_a_usage_error(
    admin: FakeAdmin, operate: Kessai, name: str
) -> None:
    result = operate("tx", name, TX)
    assert result.exit_code == 2
    assert "--reason" in result.stderr
    assert not admin.asked


def test_unhold_lets_it_go_on(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = pb.UnholdTransactionResponse(transaction=transaction(), changed=True)
    result = operate("tx", "unhold", TX, "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["transaction_id"] == TX
    admin.answer = pb.UnholdTransactionResponse(transaction=transaction())
    assert "nobody held it" in operate("tx", "unhold", TX).stderr


def test_a_refused_act_exits_4_with_the_servers_reason(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_SETTLED", "it is PAID")
    result = operate("tx", "hold", TX, "--reason", "x")
    assert result.exit_code == 4
    assert "ALREADY_SETTLED: it is PAID" in result.stderr
    assert result.stdout == ""


# --- cancel ----------------------------------------------------------------------------------

CANCELLABLE = story(
    transaction("RESERVED"), actions=[verdict("CANCEL", reason="releases everything held")]
)
CANCELLED = pb.CancelTransactionResponse(transaction=transaction("CANCELLING"), changed=True)


@pytest.mark.usefixtures("terminal")
def test_cancel_says_what_it_does_and_asks(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = answering(CANCELLABLE, CANCELLED)
    result = operate(*CANCEL, typed="y\n")
    assert result.exit_code == 0, result.output
    assert "releases everything held" in result.stderr
    assert "RESERVED" in result.stderr
    assert "CANCELLING" in result.stdout
    [sent] = acts(admin)
    assert (sent.reason, sent.if_version) == ("the till broke down", 17)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_whatever_is_not_yes_is_no(admin: FakeAdmin, operate: Kessai, typed: str) -> None:
    admin.answer = answering(CANCELLABLE, CANCELLED)
    result = operate(*CANCEL, typed=typed)
    assert result.exit_code == 1
    assert "nothing was done" in result.stderr
    assert not acts(admin)


@pytest.mark.usefixtures("terminal")
def test_an_answer_that_does_not_come_ends_the_line_of_its_question(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = answering(CANCELLABLE, CANCELLED)
    assert "[y/N] \nerror: " in operate(*CANCEL, typed="").stderr


def test_without_a_terminal_it_is_refused_unless_yes_was_said(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = answering(CANCELLABLE, CANCELLED)
    refused = operate(*CANCEL, typed="y\n")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert not acts(admin)
    assert operate(*CANCEL, "--yes").exit_code == 0
    assert acts(admin)[0].if_version == 0


@pytest.mark.usefixtures("terminal")
def test_what_is_not_allowed_is_the_servers_to_refuse_and_nothing_is_asked(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = answering(
        story(), Refusal(grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_DECIDED")
    )
    result = operate(*CANCEL)
    assert result.exit_code == 4
    assert "ALREADY_DECIDED" in result.stderr
    assert "[y/N]" not in result.stderr
    assert acts(admin)[0].if_version == 17


# --- resolve ---------------------------------------------------------------------------------

RESOLVED = pb.ResolveStepResponse(transaction=transaction("SETTLING"), participant_said="unknown")


@pytest.mark.usefixtures("terminal")
def test_resolve_shows_what_is_possible_and_takes_the_end_of_the_id(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = answering(story(), RESOLVED)
    result = operate(*RESOLVE, typed=f"{TX[-6:]}\n")
    assert result.exit_code == 0, result.output
    for told in (
        "CAPTURING for 12m", "Confirm did not answer", "it was captured; cancelled",
        "You say that card_charge", "was captured", "said: unknown",
    ):  # fmt: skip
        assert told in result.stderr
    assert "SETTLING" in result.stdout
    [sent] = acts(admin)
    assert sent == pb.ResolveStepRequest(
        transaction_id=TX, phase="card_charge", answer="STEP_ANSWER_CONFIRMED",
        reason="the processor shows it", evidence="ch_1", if_version=17,
    )  # fmt: skip


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("typed", ["y\n", "\n", TX[:6], ""])
def test_nothing_but_the_end_of_the_id_confirms_a_resolve(
    admin: FakeAdmin, operate: Kessai, typed: str
) -> None:
    admin.answer = answering(story(), RESOLVED)
    result = operate(*RESOLVE, typed=typed)
    assert result.exit_code == 1
    assert not acts(admin)


def test_resolve_without_a_terminal_needs_yes(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = answering(story(), RESOLVED)
    assert operate(*RESOLVE, typed=f"{TX[-6:]}\n").exit_code == 2
    assert not acts(admin)
    as_json = operate(*RESOLVE, "--yes", "-o", "json")
    assert as_json.exit_code == 0
    assert json.loads(as_json.stdout)["participant_said"] == "unknown"


def test_not_captured_is_sent_as_cancelled(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = answering(story(), RESOLVED)
    arguments = ("--step", "card_charge", "--as", "not-captured", "--reason", "x", "--yes")
    assert operate("tx", "resolve", TX, *arguments).exit_code == 0
    assert acts(admin)[0].answer == pb.STEP_ANSWER_CANCELLED


@pytest.mark.parametrize("missing", ["--step", "--as", "--reason"])
def test_a_resolve_that_leaves_something_out_is_a_usage_error(
    admin: FakeAdmin, operate: Kessai, missing: str
) -> None:
    given = {"--step": "card_charge", "--as": "captured", "--reason": "x"}
    rest = [word for name in given if name != missing for word in (name, given[name])]
    result = operate("tx", "resolve", TX, *rest)
    assert result.exit_code == 2
    assert missing in result.stderr
    assert not admin.asked


@pytest.mark.usefixtures("terminal")
def test_a_step_that_cannot_be_resolved_like_that_is_the_servers_to_refuse(
    admin: FakeAdmin, operate: Kessai
) -> None:
    no = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "ANSWER_NOT_POSSIBLE", "it is not its turn")
    admin.answer = answering(story(), no)
    result = operate(*(word.replace("card_charge", "merchant_credit") for word in RESOLVE))
    assert result.exit_code == 4
    assert "it is not its turn" in result.stderr
    assert "Type the last" not in result.stderr


@pytest.mark.parametrize("flag", ["--reason", "--evidence"])
def test_a_command_pasted_as_it_was_shown_has_no_words_for_the_journal(
    admin: FakeAdmin, operate: Kessai, flag: str
) -> None:
    result = operate(*RESOLVE, flag, "…", "--yes")
    assert result.exit_code == 2
    assert flag in result.stderr
    assert admin.asked == []


@pytest.mark.parametrize(
    ("reason", "hint"),
    [("ANSWER_NOT_POSSIBLE", "--as not-captured"), ("EVIDENCE_REQUIRED", "--evidence")],
)
def test_a_refused_resolve_says_what_to_type(
    admin: FakeAdmin, operate: Kessai, reason: str, hint: str
) -> None:
    admin.answer = Refusal(grpc.StatusCode.FAILED_PRECONDITION, reason, "so it is")
    result = operate(*RESOLVE, "--yes")
    assert result.exit_code == 4
    assert hint in result.stderr


@pytest.mark.usefixtures("terminal")
def test_an_attempt_between_looking_and_acting_is_no_reason_to_look_again(
    admin: FakeAdmin, operate: Kessai
) -> None:
    seen = story()
    later = story(transaction(version=19))
    later.journal.add(sequence=6, time=NOW, kind="attempt", phase="card_charge")
    stories, answers = [seen, later], [CHANGED, RESOLVED]

    def answer(request: Any) -> Any:
        explains = isinstance(request, pb.ExplainTransactionRequest)
        return (stories if explains else answers).pop(0)

    admin.answer = answer
    result = operate(*RESOLVE, typed=f"{TX[-6:]}\n")
    assert result.exit_code == 0, result.output
    assert [sent.if_version for sent in acts(admin)] == [17, 19]


@pytest.mark.usefixtures("terminal")
def test_the_second_of_two_operators_is_told_what_the_first_did(
    admin: FakeAdmin, operate: Kessai
) -> None:
    later = story(transaction(version=19))
    later.journal.add(sequence=6, time=NOW, kind="operator", event="hold", actor="bob")
    stories = [story(), later]
    admin.answer = lambda request: (
        stories.pop(0) if isinstance(request, pb.ExplainTransactionRequest) else CHANGED
    )
    result = operate(*RESOLVE, typed=f"{TX[-6:]}\n")
    assert result.exit_code == 4
    assert "CHANGED_MEANWHILE" in result.stderr
    assert "bob: hold" in result.stderr
    assert len(acts(admin)) == 1


@pytest.mark.usefixtures("terminal")
def test_a_version_that_was_named_is_kept_to(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = answering(story(), CHANGED)
    result = operate(*RESOLVE, "--if-version", "12", typed=f"{TX[-6:]}\n")
    assert result.exit_code == 4
    assert [sent.if_version for sent in acts(admin)] == [12]
