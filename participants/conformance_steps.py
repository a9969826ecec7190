"""What the conformance rules are made of: expectations, and the situations they start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.conformance_probe import Probe, Reply

Check: TypeAlias = Callable[[Probe], str]
"""Returns what it saw; raises Broken or NotCheckable with what it saw."""


class Broken(Exception):
    """The rule is not kept; the message says what was seen."""


class NotCheckable(Exception):
    """The rule cannot be checked here; the message says why."""


class NotApplicable(Exception):
    """The rule is about something that the service does not do; the message says what."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. The number of its ID is the rule's in participant.proto."""

    id: str
    sentence: str
    check: Check


def rule(rule_id: str, sentence: str) -> Callable[[Check], Rule]:
    """Makes a check a rule."""
    return lambda check: Rule(rule_id, sentence, check)


def expect(reply: Reply, status: pb.Status, when: str) -> None:
    """Raises Broken unless the reply has this status."""
    if reply.code is not grpc.StatusCode.OK or reply.answer.status != status:
        wanted = pb.Status.Name(status).removeprefix("STATUS_")
        raise Broken(f"{when} was answered {reply.text}, not {wanted}")


def expect_code(reply: Reply, code: grpc.StatusCode, when: str) -> None:
    """Raises Broken unless the reply is this gRPC error."""
    if reply.code is not code:
        raise Broken(f"{when} was answered {reply.text}, not {code.name}")


def expect_same(first: Reply, again: Sequence[Reply], when: str) -> None:
    """Raises Broken unless all have the bytes of the first."""
    for reply in again:
        if reply.raw != first.raw or reply.code is not first.code:
            raise Broken(
                f"{when} was answered {reply.text} in {len(reply.raw)} bytes; the first answer was "
                f"{first.text} in {len(first.raw)} bytes, and they are not the same bytes"
            )


def held(probe: Probe) -> tuple[str, Reply]:
    """A transaction whose Try is held, and that Try's answer."""
    transaction_id = world.new_transaction_id()
    reply = probe.try_(transaction_id)
    if reply.answer.status != pb.STATUS_HELD:
        raise NotCheckable(f"no Try could be held: the account's Try was answered {reply.text}")
    return transaction_id, reply


def confirmed(probe: Probe) -> tuple[str, Reply]:
    """A transaction that is confirmed, and the Confirm's answer."""
    transaction_id, _ = held(probe)
    reply = probe.confirm(transaction_id)
    if reply.answer.status != pb.STATUS_CONFIRMED:
        raise NotCheckable(f"a held Try could not be confirmed: {reply.text}")
    return transaction_id, reply


def cancelled(probe: Probe) -> tuple[str, Reply]:
    """A transaction whose hold was cancelled, and the Cancel's answer."""
    transaction_id, _ = held(probe)
    reply = probe.cancel(transaction_id)
    if reply.answer.status != pb.STATUS_CANCELLED:
        raise NotCheckable(f"a held Try could not be cancelled: {reply.text}")
    return transaction_id, reply


def tombstone(probe: Probe) -> tuple[str, Reply]:
    """A transaction that was cancelled before any Try, and the Cancel's answer."""
    transaction_id = world.new_transaction_id()
    reply = probe.cancel(transaction_id)
    if reply.answer.status != pb.STATUS_CANCELLED:
        raise NotCheckable(f"a Cancel without a Try was answered {reply.text}")
    return transaction_id, reply


def refused(probe: Probe) -> tuple[str, Reply]:
    """A transaction whose Try was refused, and that Try's answer."""
    account = probe.options.refused_account
    if account is None:
        raise NotCheckable("no account that is refused was given")
    transaction_id = world.new_transaction_id()
    reply = probe.try_(transaction_id, account=account)
    if reply.answer.status != pb.STATUS_REFUSED:
        raise NotCheckable(f"the account that should be refused was answered {reply.text}")
    return transaction_id, reply


def scarce(probe: Probe) -> str:
    """The account with exactly twice the amount; proved to be so."""
    account = probe.options.scarce_account
    if account is None:
        raise NotCheckable("no account with exactly twice the amount was given")
    if free(probe, account) != [pb.STATUS_HELD, pb.STATUS_HELD, pb.STATUS_REFUSED]:
        raise NotCheckable("the account does not have exactly twice the amount")
    return account


def free(probe: Probe, account: str) -> list[int]:
    """How three further Trys are answered; they are cancelled again."""
    replies = []
    for _ in range(3):
        transaction_id = world.new_transaction_id()
        replies.append((transaction_id, probe.try_(transaction_id, account=account).answer.status))
    for transaction_id, _ in replies:
        probe.cancel(transaction_id)
    return [status for _, status in replies]
