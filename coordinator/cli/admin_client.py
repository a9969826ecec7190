"""Calls of AdminService over one synchronous channel, with the operator's key and a deadline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.duration_pb2 import Duration
from kessai.admin.v1 import admin_pb2 as pb
from kessai.admin.v1 import admin_pb2_grpc

from coordinator.cli.calls import Calls, Service
from coordinator.cli.invocation import this_command

PAGE_SIZE = 500
MAX_COUNT = 100_000
"""Counting stops there."""


def _service() -> Service:
    run = this_command()
    return Service(
        address_flag="--admin-address",
        address_variable="KESSAI_ADMIN_ADDRESS",
        key_flag="--operator-key",
        away=f"is `{run} up` running, or `{run} serve` with --admin-listen? "
        f"`{run} doctor` looks further.",
        silent=f"look again with `{run} tx explain` or `{run} doctor`; acts are safe to repeat",
        unknown_key="give the key with KESSAI_OPERATOR_KEY or --operator-key; "
        f"`{run} up` prints one, `{run} keygen --operator NAME` makes one",
        elsewhere="is that the address of AdminService? KESSAI_ADMIN_LISTEN of the server; "
        "it is not the port of callers",
        repeat="",
    )


class AdminClient(Calls):
    """An operator's view of AdminService. Use as a context manager.

    Every method raises Failure; `timeout_s` bounds each call.
    """

    def __init__(self, address: str, operator_key: str, timeout_s: float) -> None:
        super().__init__(address, operator_key, timeout_s, _service())
        self._stub = admin_pb2_grpc.AdminServiceStub(self._channel)

    @property
    def address(self) -> str:
        """Where the service is called."""
        return self._address

    def search(self, filters: pb.TransactionFilter, limit: int) -> Iterator[pb.Transaction]:
        """Up to `limit` transactions, newest first, over as many pages as it takes."""
        left, token = limit, ""
        while left > 0:
            page = self._call(
                self._stub.ListTransactions,
                pb.ListTransactionsRequest(
                    filter=filters, page_size=min(PAGE_SIZE, left), page_token=token
                ),
            )
            yield from page.transactions
            left -= len(page.transactions)
            token = page.next_page_token
            if not token:
                return

    def count(self, filters: pb.TransactionFilter) -> pb.CountTransactionsResponse:
        """How many there are, up to MAX_COUNT."""
        request = pb.CountTransactionsRequest(filter=filters, at_most=MAX_COUNT)
        answer: pb.CountTransactionsResponse = self._call(self._stub.CountTransactions, request)
        return answer

    def explain(self, transaction_id: str, lines: int) -> pb.ExplainTransactionResponse:
        """The story of one transaction with the journal's last `lines`; 0: a default."""
        request = pb.ExplainTransactionRequest(transaction_id=transaction_id, journal_lines=lines)
        answer: pb.ExplainTransactionResponse = self._call(self._stub.ExplainTransaction, request)
        return answer

    def resume(self, request: pb.ResumeTransactionRequest) -> pb.ResumeTransactionResponse:
        """Retries now."""
        answer: pb.ResumeTransactionResponse = self._call(self._stub.ResumeTransaction, request)
        return answer

    def hold(self, request: pb.HoldTransactionRequest) -> pb.HoldTransactionResponse:
        """Stops it where it stands."""
        answer: pb.HoldTransactionResponse = self._call(self._stub.HoldTransaction, request)
        return answer

    def unhold(self, request: pb.UnholdTransactionRequest) -> pb.UnholdTransactionResponse:
        """Lets it go on."""
        answer: pb.UnholdTransactionResponse = self._call(self._stub.UnholdTransaction, request)
        return answer

    def cancel(self, request: pb.CancelTransactionRequest) -> pb.CancelTransactionResponse:
        """Releases it."""
        answer: pb.CancelTransactionResponse = self._call(self._stub.CancelTransaction, request)
        return answer

    def resolve(self, request: pb.ResolveStepRequest) -> pb.ResolveStepResponse:
        """Says what became of a step in doubt."""
        answer: pb.ResolveStepResponse = self._call(self._stub.ResolveStep, request)
        return answer

    def flows(self) -> list[pb.Flow]:
        """Every flow, by name."""
        return list(self._call(self._stub.ListFlows, pb.ListFlowsRequest()).flows)

    def pause_flow(self, request: pb.PauseFlowRequest) -> pb.Flow:
        """Stops the intake of a flow."""
        return _flow(self._call(self._stub.PauseFlow, request))

    def resume_flow(self, request: pb.ResumeFlowRequest) -> pb.ResumeFlowResponse:
        """Opens the intake of a flow."""
        answer: pb.ResumeFlowResponse = self._call(self._stub.ResumeFlow, request)
        return answer

    def participants(self) -> list[pb.Participant]:
        """Every participant, by name."""
        answer = self._call(self._stub.ListParticipants, pb.ListParticipantsRequest())
        return list(answer.participants)

    def check_health(self) -> list[pb.Check]:
        """All checks, in the order in which they should be looked at."""
        return list(self._call(self._stub.CheckHealth, pb.CheckHealthRequest()).checks)


def _flow(answer: Any) -> pb.Flow:
    flow: pb.Flow = answer.flow
    return flow


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    return float(duration.ToTimedelta().total_seconds())
