"""The conformance kit: which of the fence rules does the service at this address keep?

It only asks through the protocol, so it takes a participant in any language. What cannot be seen
from outside (that an answer is durable) it says it cannot check. The rules themselves are in
`conformance_rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import grpc

from participants import world
from participants.conformance_amounts import AMOUNT_RULES
from participants.conformance_probe import CheckOptions, Garbled, Probe
from participants.conformance_reading import READING_RULES
from participants.conformance_rules import FENCE_RULES
from participants.conformance_steps import Broken, NotApplicable, NotCheckable, Rule
from participants.conformance_stream import STREAM_RULES, StreamProbe, serves_streams

__all__ = ["RULES", "CheckOptions", "Report", "Result", "Verdict", "check"]

RULES = (*FENCE_RULES, *READING_RULES, *AMOUNT_RULES, *STREAM_RULES)


class Verdict(StrEnum):
    """How a rule fared."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_CHECKABLE = "not checkable"
    NOT_APPLICABLE = "not applicable"
    """It is about something that the service says it does not do, such as giving money back."""


@dataclass(frozen=True, slots=True)
class Result:
    """One rule: its ID (the number it has in participant.proto and a letter), and what was seen."""

    rule: str
    sentence: str
    verdict: Verdict
    seen: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the kit found; `error` says why nothing could be checked, or is empty."""

    target: str
    error: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether something was checked and nothing was found broken."""
        return not self.error and not self.broken

    @property
    def broken(self) -> tuple[Result, ...]:
        """The rules that are broken."""
        return tuple(result for result in self.results if result.verdict is Verdict.BROKEN)


def check(target: str, options: CheckOptions, rules: Sequence[Rule] = RULES) -> Report:
    """Checks the rules at `target` (`HOST:PORT`). Raises nothing that the participant could cause.

    It takes some seconds, writes some 300 transactions, confirms some of them and refunds
    some of these: use an account made for tests. What is left held is cancelled. Where Perform is
    served, every rule is checked over it as well.
    """
    channel_options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(target, options=channel_options) as channel:
        error = _why_unusable(channel, options)
        if error:
            return Report(target, f"{target}: {error}", ())
        probe = Probe(channel, options)
        results = [_check_one(rule, probe) for rule in rules]
        if serves_streams(probe):
            stream = StreamProbe(channel, options)
            results = [_also_over(stream, *each) for each in zip(rules, results, strict=True)]
            stream.end()
        return Report(target, "", tuple(results))


def _also_over(stream: StreamProbe, rule: Rule, result: Result) -> Result:
    """The result, unless the rule is kept by single calls and broken over the stream."""
    if result.verdict is not Verdict.KEPT or rule in STREAM_RULES:
        return result
    also = _check_one(rule, stream)
    if also.verdict is not Verdict.BROKEN:
        return result
    return replace(also, seen=f"over Perform, {also.seen}")


def _why_unusable(channel: grpc.Channel, options: CheckOptions) -> str:
    try:
        grpc.channel_ready_future(channel).result(timeout=options.timeout_s)
    except grpc.FutureTimeoutError:
        return f"nothing answers gRPC there within {options.timeout_s:g} s"
    reply = Probe(channel, options).query(world.new_transaction_id())
    if reply.code is grpc.StatusCode.UNIMPLEMENTED:
        return "there is no kessai.participant.v1.ParticipantService there"
    return ""


def _check_one(rule: Rule, probe: Probe) -> Result:
    try:
        verdict, seen = Verdict.KEPT, rule.check(probe)
    except Broken as broken:
        verdict, seen = Verdict.BROKEN, str(broken)
    except NotCheckable as unknown:
        verdict, seen = Verdict.NOT_CHECKABLE, str(unknown)
    except NotApplicable as absent:
        verdict, seen = Verdict.NOT_APPLICABLE, str(absent)
    except Garbled as garbled:
        verdict, seen = Verdict.BROKEN, str(garbled)
    except Exception as error:  # noqa: BLE001  whatever an answer did to us, the others are checked
        verdict, seen = Verdict.BROKEN, f"an answer could not be read: {error!r}"
    finally:
        probe.clean_up()
    return Result(rule.id, rule.sentence, verdict, seen)
