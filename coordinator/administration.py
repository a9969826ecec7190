"""Wires what operators use: the use cases of `engine.operate` and AdminService over them.

A part of `bootstrap`, which hands it what it has wired. Importing it does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.config import Settings
from coordinator.domain.flow import Flow
from coordinator.engine.operate.cancel import CancelByOperator
from coordinator.engine.operate.desk import Desk
from coordinator.engine.operate.doctor import Doctor
from coordinator.engine.operate.explain import Explain
from coordinator.engine.operate.flows import FlowDesk
from coordinator.engine.operate.hold import Hold, Unhold
from coordinator.engine.operate.participants import ListParticipants, phases_by_participant
from coordinator.engine.operate.resolve import Resolve
from coordinator.engine.operate.resume import Resume
from coordinator.rpc.admin import MAX_ADMIN_CALLS, AdminServicer
from coordinator.rpc.credentials import Credential, Credentials
from coordinator.rpc.gate import Gate
from coordinator.rpc.server import AdminServer
from coordinator.world import Coordinator, World


def admin_server(
    world: World,
    coordinator: Coordinator,
    settings: Settings,
    *,
    flows: Mapping[str, Flow],
    owner: str,
) -> AdminServer | None:
    """The server of AdminService, not started; None when it is off.

    Raises ConfigurationError for a bad address.
    """
    if not settings.admin_listen:
        return None
    servicer = admin_servicer(world, coordinator, settings, flows=flows, owner=owner)
    return AdminServer(servicer, listen=settings.admin_listen, reflect=settings.reflection)


def admin_servicer(
    world: World,
    coordinator: Coordinator,
    settings: Settings,
    *,
    flows: Mapping[str, Flow],
    owner: str,
) -> AdminServicer:
    """AdminService over its use cases. `owner` names this process."""
    store, clock, surroundings = world.store, world.clock, world.surroundings
    assert surroundings is not None, "a world with an admin port can be looked at"
    desk = Desk(store=store, driver=coordinator.driver, flows=flows, clock=clock)
    gates = FlowDesk(store=store, intake=coordinator.intake, flows=flows, clock=clock)
    participants = ListParticipants(
        store=store,
        participants=coordinator.participants,
        flows=flows,
        surroundings=surroundings,
    )
    return AdminServicer(
        gate=_gate(world, settings),
        store=store,
        clock=clock,
        explain=Explain(store=store, desk=desk),
        resume=Resume(desk),
        hold=Hold(desk),
        unhold=Unhold(desk),
        cancel=CancelByOperator(desk),
        # An operator's question is asked whatever the breaker thinks of the participant.
        resolve=Resolve(desk=desk, participants=world.participants),
        flows=gates,
        participants=participants,
        doctor=Doctor(
            store=store,
            surroundings=surroundings,
            participants=participants,
            flows=gates,
            clock=clock,
            faults=world.faults.rules if world.faults else (),
        ),
        phases=phases_by_participant(flows),
        addresses=settings.participants,
        owner=owner,
    )


def _gate(world: World, settings: Settings) -> Gate:
    keys = [Credential(name, key.sha256, key.expires) for name, key in settings.operators.items()]
    return Gate(
        credentials=Credentials("operator", keys, world.clock),
        max_in_flight=MAX_ADMIN_CALLS,
        deadline_margin_s=settings.deadline_margin_s,
        observer=world.observer,
    )
