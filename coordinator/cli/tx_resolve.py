"""`kessai tx resolve`: an operator says what became of a step in doubt.

The server asks the participant once more and takes only what cannot break a payment apart; here it
is shown what is possible before anything is asked or sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.asking import confirm_by_id, need_a_terminal
from coordinator.cli.failures import Failure
from coordinator.cli.helps import command
from coordinator.cli.operator_options import (
    ADMIN_TIMEOUT_S,
    DEFAULT_ADMIN_ADDRESS,
    TRANSACTION,
    AdminAddressOption,
    IfVersionOption,
    OperatorKeyOption,
    ReasonOption,
    TransactionArgument,
    YesOption,
    admin,
)
from coordinator.cli.options import TimeoutOption
from coordinator.cli.output import Format, OutputOption, plain, say
from coordinator.cli.requests import sendable
from coordinator.cli.tx import app
from coordinator.cli.tx_acts import LEFT_OUT, LOOKED_BACK, as_seen, show_on_stderr, show_transaction

if TYPE_CHECKING:
    from kessai.admin.v1 import admin_pb2 as pb

    from coordinator.cli.admin_client import AdminClient


class AnswerName(StrEnum):
    """What may have become of a step."""

    CAPTURED = "captured"
    NOT_CAPTURED = "not-captured"


@command(
    app,
    f"kessai tx resolve {TRANSACTION} \\",
    "  --step card_charge --as captured \\",
    "  --reason 'the processor shows the charge' \\",
    "  --evidence 'ch_8812, statement of 21 November'",
    f"kessai tx resolve {TRANSACTION} \\",
    "  --step card_charge --as not-captured --reason 'ticket 812' --yes",
    failed="it was not confirmed; nothing was done",
    unreachable="",
    refused="refused by the server: the step allows no such answer, its participant says "
    "otherwise, evidence is missing, or somebody else acted",
)
def resolve(
    *,
    transaction_id: TransactionArgument,
    step: Annotated[
        str,
        typer.Option(metavar="PHASE", help="The step in doubt, such as card_charge."),
    ],
    answer: Annotated[
        AnswerName,
        typer.Option(
            "--as",
            help="captured: the participant's part is final (confirmed). not-captured: it is "
            "undone and never becomes final (cancelled); while it is CAPTURING, the participant "
            "has to answer that Cancel.",
        ),
    ],
    reason: ReasonOption,
    evidence: Annotated[
        str,
        typer.Option(
            help="What that rests on, such as the processor's reference or a ticket. Required "
            "when the participant cannot be asked."
        ),
    ] = "",
    if_version: IfVersionOption = 0,
    yes: YesOption = False,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Says of a step in doubt what became of it, when its participant cannot be made to.

    First look with `kessai tx explain`, which lists the possible answers. The participant is asked
    once more, and what it says wins. On a terminal you are shown the transaction and type the end
    of its ID. Your answer, reason and evidence stand in the journal under your name.
    """
    from kessai.admin.v1 import admin_pb2  # noqa: PLC0415 - slow

    for flag, text in (("--reason", reason), ("--evidence", evidence)):
        if text.strip() == LEFT_OUT:
            raise typer.BadParameter("that is the place for your own words", param_hint=flag)
    request = sendable(
        lambda: admin_pb2.ResolveStepRequest(
            transaction_id=transaction_id,
            phase=step,
            answer=_number(answer),
            reason=reason,
            evidence=evidence,
            if_version=if_version,
        )
    )
    with admin(admin_address, operator_key, timeout) as at:
        if yes:
            done = _sent(at, request)
        else:
            need_a_terminal("what was said of a step cannot be taken back")
            seen = at.explain(transaction_id, LOOKED_BACK)
            if _possible(seen, step, answer):
                _ask(seen, step, answer)
            # Where it is not possible the server refuses it, since it is at this version.
            done = as_seen(at, seen, request, partial(_sent, at))
    if done.participant_said and output is Format.TABLE:
        say(plain(f"the participant was asked once more and said: {done.participant_said}"))
    show_transaction(done.transaction, output, done)


_HINTS = {
    "ANSWER_NOT_POSSIBLE": "confirmed is --as captured, cancelled is --as not-captured",
    "EVIDENCE_REQUIRED": "say with --evidence what your answer rests on",
}


def _sent(at: AdminClient, request: pb.ResolveStepRequest) -> pb.ResolveStepResponse:
    """The answer. A refusal says in this command's words what to do about it."""
    try:
        return at.resolve(request)
    except Failure as failure:
        failure.hint = failure.hint or _HINTS.get(failure.code, "")
        raise


def _number(answer: AnswerName) -> pb.StepAnswer:
    from coordinator.cli.tx_show import ANSWERS  # noqa: PLC0415 - slow

    return next(number for number, name in ANSWERS.items() if name == answer)


def _answers(seen: pb.ExplainTransactionResponse, step: str) -> Sequence[pb.StepAnswers]:
    return [each for each in seen.resolvable if each.phase == step]


def _possible(seen: pb.ExplainTransactionResponse, step: str, answer: AnswerName) -> bool:
    return any(_number(answer) in each.answers for each in _answers(seen, step))


def _ask(seen: pb.ExplainTransactionResponse, step: str, answer: AnswerName) -> None:
    """Shows what is about to be resolved and what it does. Raises Failure unless confirmed."""
    show_on_stderr(seen)
    for wait in seen.waits:
        say(plain(f"it waits for: {wait.sentence}"))
    for each in _answers(seen, step):
        say(plain(f"{step}: {each.reason}"))
    confirm_by_id(
        f"You say that {step} of {seen.transaction.transaction_id} was "
        f"{'captured' if answer is AnswerName.CAPTURED else 'NOT captured'}.",
        seen.transaction.transaction_id,
        yes=False,
    )
