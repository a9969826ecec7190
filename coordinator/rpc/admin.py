"""AdminService: each method parses, makes one engine call, and renders.

The gate knows operators by their own keys; the operator's name is the actor in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from kessai.admin.v1 import admin_pb2 as pb
from kessai.admin.v1 import admin_pb2_grpc

from coordinator.domain.cards import has_card_number
from coordinator.domain.errors import InvalidRequest, Violation
from coordinator.domain.ids import parse_transaction_id
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Transaction
from coordinator.engine.operate.cancel import CancelByOperator
from coordinator.engine.operate.desk import Order
from coordinator.engine.operate.doctor import Doctor
from coordinator.engine.operate.explain import Explain
from coordinator.engine.operate.flows import FlowDesk
from coordinator.engine.operate.hold import Hold, Unhold
from coordinator.engine.operate.participants import ListParticipants
from coordinator.engine.operate.resolve import Resolve
from coordinator.engine.operate.resume import Resume
from coordinator.ports import Clock, Store
from coordinator.rpc import admin_mapping as mapping
from coordinator.rpc.gate import Context, Gate, Unread

MAX_ADMIN_CALLS = 64
"""How many calls of operators are served at once."""


class _About(Protocol):
    """What every order about one transaction has."""

    @property
    def reason(self) -> str: ...

    @property
    def if_version(self) -> int: ...


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """The service over the use cases.

    phases        of each participant
    addresses     of each participant
    owner         this process's name in claims
    """

    def __init__(
        self,
        *,
        gate: Gate,
        store: Store,
        clock: Clock,
        explain: Explain,
        resume: Resume,
        hold: Hold,
        unhold: Unhold,
        cancel: CancelByOperator,
        resolve: Resolve,
        flows: FlowDesk,
        participants: ListParticipants,
        doctor: Doctor,
        phases: Mapping[str, tuple[str, ...]],
        addresses: Mapping[str, str],
        owner: str,
    ) -> None:
        self.gate = gate
        self._store = store
        self._clock = clock
        self._explain_use_case = explain
        self._resume_use_case = resume
        self._hold_use_case = hold
        self._unhold_use_case = unhold
        self._cancel_use_case = cancel
        self._resolve_use_case = resolve
        self._flows = flows
        self._participants = participants
        self._doctor = doctor
        self._phases = phases
        self._participant_of = {
            phase: name for name, phases_of in phases.items() for phase in phases_of
        }
        self._addresses = addresses
        self._owner = owner

    async def ListTransactions(
        self, request: Unread[pb.ListTransactionsRequest], context: Context
    ) -> pb.ListTransactionsResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._list)

    async def CountTransactions(
        self, request: Unread[pb.CountTransactionsRequest], context: Context
    ) -> pb.CountTransactionsResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._count)

    async def ExplainTransaction(
        self, request: Unread[pb.ExplainTransactionRequest], context: Context
    ) -> pb.ExplainTransactionResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._explain)

    async def ResumeTransaction(
        self, request: Unread[pb.ResumeTransactionRequest], context: Context
    ) -> pb.ResumeTransactionResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._resume)

    async def HoldTransaction(
        self, request: Unread[pb.HoldTransactionRequest], context: Context
    ) -> pb.HoldTransactionResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._hold)

    async def UnholdTransaction(
        self, request: Unread[pb.UnholdTransactionRequest], context: Context
    ) -> pb.UnholdTransactionResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._unhold)

    async def CancelTransaction(
        self, request: Unread[pb.CancelTransactionRequest], context: Context
    ) -> pb.CancelTransactionResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._cancel)

    async def ResolveStep(
        self, request: Unread[pb.ResolveStepRequest], context: Context
    ) -> pb.ResolveStepResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._resolve)

    async def ListFlows(
        self, request: Unread[pb.ListFlowsRequest], context: Context
    ) -> pb.ListFlowsResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._list_flows)

    async def PauseFlow(
        self, request: Unread[pb.PauseFlowRequest], context: Context
    ) -> pb.PauseFlowResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._pause_flow)

    async def ResumeFlow(
        self, request: Unread[pb.ResumeFlowRequest], context: Context
    ) -> pb.ResumeFlowResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._resume_flow)

    async def ListParticipants(
        self, request: Unread[pb.ListParticipantsRequest], context: Context
    ) -> pb.ListParticipantsResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._list_participants)

    async def CheckHealth(
        self, request: Unread[pb.CheckHealthRequest], context: Context
    ) -> pb.CheckHealthResponse:
        """See admin.proto."""
        return await self.gate.unary(request, context, self._check_health)

    async def _list(
        self, _operator: str, request: pb.ListTransactionsRequest, _context: Context
    ) -> pb.ListTransactionsResponse:
        after, limit = mapping.page_after(request), mapping.page_size(request)
        query = mapping.query(request.filter, self._phases, self._clock.now())
        # One more than the page has: whether there is a next one is known without asking again.
        found = await self._store.search(evolve(query, before=after, limit=limit + 1))
        page = found[:limit]
        more = len(found) > limit
        return pb.ListTransactionsResponse(
            transactions=[self._shown(each) for each in page],
            next_page_token=mapping.page_token(request, page[-1]) if more else "",
        )

    async def _count(
        self, _operator: str, request: pb.CountTransactionsRequest, _context: Context
    ) -> pb.CountTransactionsResponse:
        at_most = request.at_most or mapping.DEFAULT_COUNT
        query = mapping.query(request.filter, self._phases, self._clock.now())
        count = await self._store.count(query, at_most)
        return pb.CountTransactionsResponse(count=count, count_is_lower_bound=count >= at_most)

    async def _explain(
        self, _operator: str, request: pb.ExplainTransactionRequest, _context: Context
    ) -> pb.ExplainTransactionResponse:
        lines = request.journal_lines or mapping.DEFAULT_LINES
        told = await self._explain_use_case(parse_transaction_id(request.transaction_id), lines)
        return mapping.story(told, self._participant_of, self._owner)

    async def _resume(
        self, operator: str, request: pb.ResumeTransactionRequest, _context: Context
    ) -> pb.ResumeTransactionResponse:
        transaction_id = parse_transaction_id(request.transaction_id)
        resumed = await self._resume_use_case(transaction_id, _order(operator, request))
        return pb.ResumeTransactionResponse(transaction=self._shown(resumed))

    async def _hold(
        self, operator: str, request: pb.HoldTransactionRequest, _context: Context
    ) -> pb.HoldTransactionResponse:
        transaction_id = parse_transaction_id(request.transaction_id)
        done = await self._hold_use_case(transaction_id, _order(operator, request))
        shown = self._shown(done.transaction)
        return pb.HoldTransactionResponse(transaction=shown, changed=done.changed)

    async def _unhold(
        self, operator: str, request: pb.UnholdTransactionRequest, _context: Context
    ) -> pb.UnholdTransactionResponse:
        transaction_id = parse_transaction_id(request.transaction_id)
        done = await self._unhold_use_case(transaction_id, _order(operator, request))
        shown = self._shown(done.transaction)
        return pb.UnholdTransactionResponse(transaction=shown, changed=done.changed)

    async def _cancel(
        self, operator: str, request: pb.CancelTransactionRequest, _context: Context
    ) -> pb.CancelTransactionResponse:
        transaction_id = parse_transaction_id(request.transaction_id)
        done = await self._cancel_use_case(transaction_id, _order(operator, request))
        shown = self._shown(done.transaction)
        return pb.CancelTransactionResponse(transaction=shown, changed=done.changed)

    async def _resolve(
        self, operator: str, request: pb.ResolveStepRequest, _context: Context
    ) -> pb.ResolveStepResponse:
        transaction_id = parse_transaction_id(request.transaction_id)
        answer = mapping.ANSWERS_BACK[request.answer]
        _refuse_card_number("evidence", request.evidence)
        order = evolve(_order(operator, request), evidence=request.evidence)
        done = await self._resolve_use_case(transaction_id, request.phase, answer, order)
        shown = self._shown(done.transaction)
        return pb.ResolveStepResponse(transaction=shown, participant_said=done.said.value)

    async def _list_flows(
        self, _operator: str, _request: pb.ListFlowsRequest, _context: Context
    ) -> pb.ListFlowsResponse:
        return pb.ListFlowsResponse(
            flows=[mapping.flow(each) for each in await self._flows.flows()]
        )

    async def _pause_flow(
        self, operator: str, request: pb.PauseFlowRequest, _context: Context
    ) -> pb.PauseFlowResponse:
        _refuse_card_number("reason", request.reason)
        view = await self._flows.pause(request.flow, operator, request.reason)
        return pb.PauseFlowResponse(flow=mapping.flow(view))

    async def _resume_flow(
        self, _operator: str, request: pb.ResumeFlowRequest, _context: Context
    ) -> pb.ResumeFlowResponse:
        view, changed = await self._flows.resume(request.flow)
        return pb.ResumeFlowResponse(flow=mapping.flow(view), changed=changed)

    async def _list_participants(
        self, _operator: str, _request: pb.ListParticipantsRequest, _context: Context
    ) -> pb.ListParticipantsResponse:
        views = await self._participants()
        shown = [mapping.participant(view, self._addresses[view.name]) for view in views]
        return pb.ListParticipantsResponse(participants=shown)

    async def _check_health(
        self, _operator: str, _request: pb.CheckHealthRequest, _context: Context
    ) -> pb.CheckHealthResponse:
        return pb.CheckHealthResponse(checks=[mapping.check(each) for each in await self._doctor()])

    def _shown(self, transaction: Transaction) -> pb.Transaction:
        return mapping.transaction(transaction, self._participant_of)


def _order(operator: str, request: _About) -> Order:
    _refuse_card_number("reason", request.reason)
    return Order(operator, request.reason, if_version=request.if_version)


def _refuse_card_number(field: str, text: str) -> None:
    if has_card_number(text):
        problem = "holds a card number; it belongs nowhere but with the card processor"
        raise InvalidRequest([Violation(field, "CARD_NUMBER", problem)])
