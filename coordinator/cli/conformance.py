"""`kessai participant check`: the conformance kit's report, for any `HOST:PORT`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.helps import command
from coordinator.cli.output import Format, OutputOption, emit_all, plain, say, table
from coordinator.cli.participant import app

if TYPE_CHECKING:
    from rich.table import Table

    from participants.conformance import Report, Result


@dataclass(frozen=True, slots=True)
class Accounts:
    """Accounts for one check: one that is held, one that is refused, one with twice the amount.

    The last one's name may say how much that is, as `{twice}`.
    """

    held: str
    refused: str | None
    scarce: str | None


KNOWN = (
    Accounts("conformance", "conformance-nobody", "conformance-scarce"),
    Accounts("tok_ok", "tok_declined", "tok_limit_{twice}-conformance"),
)
"""What is looked for when no account is named: what the participants of `kessai up` know. The kit
proves each of them before it relies on it, so one that does not fit leaves a rule unchecked."""
PHASE = "conformance"
COLOURS = {
    "kept": "green",
    "broken": "bold red",
    "not checkable": "yellow",
    "not applicable": "dim",
}


@command(
    app,
    "kessai participant check 127.0.0.1:7401",
    "kessai participant check gift.example:443 --account test-1 \\",
    "  --refused-account empty",
    "kessai participant check 127.0.0.1:7401 --output json",
    failed="a rule is broken",
    unreachable="there is no participant there",
)
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="HOST:PORT", help="The participant's address, plaintext.", show_default=False
        ),
    ],
    *,
    account: Annotated[
        str | None,
        typer.Option(
            help="An account made for tests, good for 80 times the amount; a few payments are "
            "confirmed for good, others refunded. Default: one that the participants of "
            "`kessai up` know.",
            show_default=False,
        ),
    ] = None,
    refused_account: Annotated[
        str | None,
        typer.Option(
            help="An account whose Trys are refused; checks refusals too. Default: as above.",
            show_default=False,
        ),
    ] = None,
    scarce_account: Annotated[
        str | None,
        typer.Option(
            help="An account with exactly twice the amount; checks double holds, and what a "
            "Confirm for less and a refund move. Default: as above, good for an amount of 100.",
            show_default=False,
        ),
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

    Writes some 300 small transactions there: never point it at accounts of real people.
    """
    from participants.conformance import CheckOptions  # noqa: PLC0415 - slow
    from participants.conformance import check as run  # noqa: PLC0415 - slow

    known = Accounts(account, None, None) if account else _known(target, amount, currency, timeout)
    options = CheckOptions(
        account=known.held,
        currency_code=currency,
        amount_minor=amount,
        refused_account=refused_account or known.refused,
        scarce_account=scarce_account or (known.scarce or "").format(twice=2 * amount) or None,
        timeout_s=timeout,
    )
    report = run(target, options)
    if report.error:
        raise Failure(plain(report.error), ExitCode.UNREACHABLE)
    emit_all(output, map(_record, report.results), lambda: _view(report))
    if report.broken:
        rules = ", ".join(result.rule for result in report.broken)
        raise Failure(f"{target} breaks {len(report.broken)} of the rules: {rules}")
    absent = sum(result.verdict.value == "not applicable" for result in report.results)
    also = f"; {absent} do not apply to it" if absent else ""
    say(f"{target} keeps every rule that could be checked{also}")


def _record(result: Result) -> dict[str, str]:
    return {
        "rule": result.rule,
        "sentence": result.sentence,
        "verdict": result.verdict.value,
        "seen": result.seen,
    }


def _known(target: str, amount: int, currency: str, timeout_s: float) -> Accounts:
    """The first of KNOWN that is good for a Try there, which is cancelled at once.

    The first one, if the service cannot be asked: the check itself says why.
    """
    import grpc  # noqa: PLC0415 - slow
    from kessai.participant.v1 import participant_pb2 as pb  # noqa: PLC0415 - slow
    from kessai.participant.v1 import participant_pb2_grpc  # noqa: PLC0415 - slow

    from adapters.system import SystemIds  # noqa: PLC0415 - slow

    ids = SystemIds()
    with grpc.insecure_channel(target) as channel:
        stub = participant_pb2_grpc.ParticipantServiceStub(channel)
        for accounts in KNOWN:
            transaction_id = str(ids.transaction_id())
            hold = pb.TryRequest(
                transaction_id=transaction_id,
                phase=PHASE,
                amount=pb.Money(currency_code=currency, minor_units=amount),
                account=accounts.held,
            )
            undo = pb.CancelRequest(transaction_id=transaction_id, phase=PHASE)
            try:
                tried = stub.Try(hold, timeout=timeout_s)
                stub.Cancel(undo, timeout=timeout_s)
            except grpc.RpcError:
                break
            if tried.answer.status == pb.STATUS_HELD:
                return accounts
        else:
            raise Failure(
                f"{target} refuses {' and '.join(accounts.held for accounts in KNOWN)}",
                ExitCode.USAGE,
                hint="name an account made for tests with --account",
            )
    return KNOWN[0]


def _view(report: Report) -> Table:
    made = table("rule", "verdict", "sentence", "seen")
    for result in report.results:
        verdict = Text(result.verdict.value, style=COLOURS.get(result.verdict.value, ""))
        made.add_row(result.rule, verdict, result.sentence, plain(result.seen))
    return made
