"""`kessai participant check`: the conformance kit's report, for any `HOST:PORT`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.helps import command
from coordinator.cli.output import Format, OutputOption, emit_all, plain, say, table
from coordinator.cli.participant import app

if TYPE_CHECKING:
    from rich.table import Table

    from participants.conformance import Report

ACCOUNTS = ("conformance", "tok_ok")
"""Accounts looked for when none is named: what the participants of `kessai up` know."""
PHASE = "conformance"
COLOURS = {"kept": "green", "broken": "bold red", "not checkable": "yellow"}


@command(
    app,
    "kessai participant check 127.0.0.1:7401",
    "kessai participant check gift.example:443 --account test-1 --refused-account empty",
    "kessai participant check 127.0.0.1:7401 --output json",
    failed="a rule is broken",
    unreachable="there is no participant there",
)
def check(
    target: Annotated[str, typer.Argument(metavar="HOST:PORT", show_default=False)],
    *,
    account: Annotated[
        str | None,
        typer.Option(
            help="An account made for tests, good for 40 times the amount; a few payments are "
            "confirmed for good. Default: one that the participants of `kessai up` know.",
            show_default=False,
        ),
    ] = None,
    refused_account: Annotated[
        str | None, typer.Option(help="An account whose Trys are refused; checks refusals too.")
    ] = None,
    scarce_account: Annotated[
        str | None,
        typer.Option(help="An account with exactly twice the amount; checks double holds too."),
    ] = None,
    amount: Annotated[
        int, typer.Option(min=1, help="Amount of every payment, in minor units.")
    ] = 100,
    currency: Annotated[str, typer.Option(help="ISO 4217 code.")] = "JPY",
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Longest wait for one answer, in seconds.")
    ] = 5.0,
    output: OutputOption = Format.TABLE,
) -> None:
    """Reports which rules of the participant protocol a service keeps, in any language.

    Writes a few dozen small transactions there: never point it at accounts of real people.
    """
    from participants.conformance import CheckOptions  # noqa: PLC0415 - slow
    from participants.conformance import check as run  # noqa: PLC0415 - slow

    options = CheckOptions(
        account=account or _known_account(target, amount, currency, timeout),
        currency_code=currency,
        amount_minor=amount,
        refused_account=refused_account,
        scarce_account=scarce_account,
        timeout_s=timeout,
    )
    report = run(target, options)
    if report.error:
        raise Failure(plain(report.error), ExitCode.UNREACHABLE)
    records = [
        {
            "rule": result.rule,
            "sentence": result.sentence,
            "verdict": result.verdict.value,
            "seen": result.seen,
        }
        for result in report.results
    ]
    emit_all(output, records, lambda: _view(report))
    if report.broken:
        rules = ", ".join(result.rule for result in report.broken)
        raise Failure(f"{target} breaks {len(report.broken)} of the rules: {rules}")
    say(f"{target} keeps every rule that could be checked")


def _known_account(target: str, amount: int, currency: str, timeout_s: float) -> str:
    """The first of ACCOUNTS that is good for a Try there, which is cancelled at once.

    The first one, if the service cannot be asked: the check itself says why.
    """
    import grpc  # noqa: PLC0415 - slow
    from kessai.participant.v1 import participant_pb2 as pb  # noqa: PLC0415 - slow
    from kessai.participant.v1 import participant_pb2_grpc  # noqa: PLC0415 - slow

    from adapters.system import SystemIds  # noqa: PLC0415 - slow

    ids = SystemIds()
    with grpc.insecure_channel(target) as channel:
        stub = participant_pb2_grpc.ParticipantServiceStub(channel)
        for account in ACCOUNTS:
            transaction_id = str(ids.transaction_id())
            hold = pb.TryRequest(
                transaction_id=transaction_id,
                phase=PHASE,
                amount=pb.Money(currency_code=currency, minor_units=amount),
                account=account,
            )
            undo = pb.CancelRequest(transaction_id=transaction_id, phase=PHASE)
            try:
                tried = stub.Try(hold, timeout=timeout_s)
                stub.Cancel(undo, timeout=timeout_s)
            except grpc.RpcError:
                break
            if tried.answer.status == pb.STATUS_HELD:
                return account
        else:
            raise Failure(
                f"{target} refuses {' and '.join(ACCOUNTS)}",
                ExitCode.USAGE,
                hint="name an account made for tests with --account",
            )
    return ACCOUNTS[0]


def _view(report: Report) -> Table:
    made = table("rule", "verdict", "sentence", "seen")
    for result in report.results:
        verdict = Text(result.verdict.value, style=COLOURS.get(result.verdict.value, ""))
        made.add_row(result.rule, verdict, result.sentence, plain(result.seen))
    return made
