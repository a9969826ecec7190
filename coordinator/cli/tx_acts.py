"""`kessai tx hold|unhold|cancel`: what operators do with one transaction.

Heavy modules (gRPC, protobuf) are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from coordinator.cli.asking import confirm, need_a_terminal
from coordinator.cli.failures import Failure
from coordinator.cli.helps import command
from coordinator.cli.operator_options import (
    ADMIN_TIMEOUT_S,
    DEFAULT_ADMIN_ADDRESS,
    TRANSACTION,
    AdminAddressOption,
    IfVersionOption,
    MaybeReasonOption,
    OperatorKeyOption,
    ReasonOption,
    TransactionArgument,
    YesOption,
    admin,
)
from coordinator.cli.options import TimeoutOption
from coordinator.cli.output import Format, OutputOption, data, emit, messages, plain, say
from coordinator.cli.requests import sendable
from coordinator.cli.tx import app

if TYPE_CHECKING:
    from kessai.admin.v1 import admin_pb2 as pb

    from coordinator.cli.admin_client import AdminClient

Answer = TypeVar("Answer")
Request = TypeVar("Request", "pb.CancelTransactionRequest", "pb.ResolveStepRequest")
LEFT_OUT = "…"
"""What commands to paste have where their operator's own words belong."""
LOOKED_BACK = 50
"""How many of the journal's last lines are compared with what was shown."""
_TRIES = 5


@command(
    app,
    f"kessai tx hold {TRANSACTION} \\",
    "  --reason 'asking the card processor, ticket 812'",
    ok="ok, also when it was held before",
    unreachable="",
    refused="refused by the server, for instance because it is settled",
)
def hold(
    *,
    transaction_id: TransactionArgument,
    reason: ReasonOption,
    if_version: IfVersionOption = 0,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Stops a transaction where it stands: participants are asked nothing more about it.

    It stays like that until `kessai tx unhold`.
    """
    from kessai.admin.v1 import admin_pb2 as pb  # noqa: PLC0415 - slow

    request = sendable(
        lambda: pb.HoldTransactionRequest(
            transaction_id=transaction_id, reason=reason, if_version=if_version
        )
    )
    with admin(admin_address, operator_key, timeout) as at:
        answer = at.hold(request)
    if not answer.changed:
        holder = plain(answer.transaction.hold.operator)
        say(f"it was held before, by {holder}; that hold is left as it was")
    show_transaction(answer.transaction, output)


@command(
    app,
    f"kessai tx unhold {TRANSACTION}",
    f"kessai tx unhold {TRANSACTION} \\",
    "  --reason 'it was not captured, ticket 812'",
    ok="ok, also when it was not held",
    unreachable="",
    refused="",
)
def unhold(
    *,
    transaction_id: TransactionArgument,
    reason: MaybeReasonOption = "",
    if_version: IfVersionOption = 0,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Lets a held transaction go on, at once."""
    from kessai.admin.v1 import admin_pb2 as pb  # noqa: PLC0415 - slow

    request = sendable(
        lambda: pb.UnholdTransactionRequest(
            transaction_id=transaction_id, reason=reason, if_version=if_version
        )
    )
    with admin(admin_address, operator_key, timeout) as at:
        answer = at.unhold(request)
    if not answer.changed:
        say("nobody held it")
    show_transaction(answer.transaction, output)


@command(
    app,
    f"kessai tx cancel {TRANSACTION} --reason 'no till'",
    f"kessai tx cancel {TRANSACTION} \\",
    "  --reason 'the till broke down' --yes",
    ok="ok, also when it was released before",
    failed="it was not confirmed; nothing was done",
    unreachable="",
    refused="refused by the server, for instance because it is decided to be paid",
)
def cancel(
    *,
    transaction_id: TransactionArgument,
    reason: ReasonOption,
    if_version: IfVersionOption = 0,
    yes: YesOption = False,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Releases a transaction that is not decided yet (CREATED or RESERVED); asks before.

    Its caller sees the reason.
    """
    from kessai.admin.v1 import admin_pb2 as pb  # noqa: PLC0415 - slow

    request = sendable(
        lambda: pb.CancelTransactionRequest(
            transaction_id=transaction_id, reason=reason, if_version=if_version
        )
    )
    with admin(admin_address, operator_key, timeout) as at:
        if yes:
            answer = at.cancel(request)
        else:
            need_a_terminal("a cancelled transaction stays cancelled")
            seen = at.explain(transaction_id, LOOKED_BACK)
            if verdict_of(seen, pb.OPERATOR_ACTION_CANCEL).allowed:
                show_on_stderr(seen)
                confirm(_releasing(seen, pb.OPERATOR_ACTION_CANCEL), yes=False)
            # Where it is not allowed the server refuses it, since it is at this version.
            answer = as_seen(at, seen, request, at.cancel)
    if not answer.changed:
        say("it was released before")
    show_transaction(answer.transaction, output)


def _releasing(seen: pb.ExplainTransactionResponse, action: pb.OperatorAction) -> str:
    return f"Cancelling it {verdict_of(seen, action).reason}. Go on?"


def verdict_of(seen: pb.ExplainTransactionResponse, action: pb.OperatorAction) -> pb.ActionVerdict:
    """What the server says of an action; not allowed if it says nothing."""
    from kessai.admin.v1 import admin_pb2  # noqa: PLC0415 - slow

    found = [each for each in seen.actions if each.action == action]
    return found[0] if found else admin_pb2.ActionVerdict(action=action)


def as_seen(
    at: AdminClient,
    seen: pb.ExplainTransactionResponse,
    request: Request,
    act: Callable[[Request], Answer],
) -> Answer:
    """Acts on the transaction as its operator saw it, unless the request names a version itself.

    It may have been tried again meanwhile, which changes its version and nothing of what was
    decided. Raises Failure when somebody acted or it moved.
    """
    if request.if_version:
        return act(request)
    request.if_version = seen.transaction.version
    for _ in range(_TRIES):
        try:
            return act(request)
        except Failure as failure:
            if failure.code != "CHANGED_MEANWHILE":
                raise
            now = at.explain(seen.transaction.transaction_id, LOOKED_BACK)
            if _moved(seen, now):
                raise
            request.if_version = now.transaction.version
    return act(request)


def _moved(before: pb.ExplainTransactionResponse, now: pb.ExplainTransactionResponse) -> bool:
    last = before.journal[-1].sequence if before.journal else 0
    new = [line for line in now.journal if line.sequence > last]
    complete = now.earlier_lines <= last
    return not complete or any(line.kind != "attempt" for line in new)


def show_on_stderr(seen: pb.ExplainTransactionResponse) -> None:
    """What is about to be acted on, where a question about it is asked."""
    from coordinator.cli.tx_show import transaction_view  # noqa: PLC0415 - slow

    console = messages()
    console.print(transaction_view(seen.transaction, seen.now, console.width))


def show_transaction(
    of: pb.Transaction, output: Format, answer: pb.ResolveStepResponse | None = None
) -> None:
    """Prints a transaction as it stands after an act; programs get the `answer` if it has more."""
    from adapters.system import SystemClock  # noqa: PLC0415 - slow
    from coordinator.cli.show import record  # noqa: PLC0415 - slow
    from coordinator.cli.tx_show import stamp, transaction_view  # noqa: PLC0415 - slow

    now = stamp(SystemClock().now())
    emit(output, record(answer or of), lambda: transaction_view(of, now, data().width))
