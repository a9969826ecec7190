"""Connects the world outside: an implementation for every port. A part of `bootstrap`."""

from __future__ import annotations

import base64
from contextlib import AsyncExitStack

from adapters.nats import NatsPublisher
from adapters.participant_grpc import GrpcParticipant
from adapters.postgres.group_writer import no_faults
from adapters.postgres.store import PostgresStore
from adapters.sealing import Sealer
from adapters.surroundings import SystemSurroundings
from adapters.system import SystemClock, SystemRandomness
from coordinator.config import Settings
from coordinator.engine.measured import Measured
from coordinator.faults import FaultPlan
from coordinator.ports import Ids, Observer, Publisher
from coordinator.telemetry import LogObserver, Several, Unfailing
from coordinator.world import World


async def open_world(
    settings: Settings,
    *,
    ids: Ids,
    owner: str,
    counting: Observer,
    plan: FaultPlan | None,
    stack: AsyncExitStack,
) -> World:
    """Connects everything; what is opened here is closed by `stack`, in reverse order.

    The faults of `plan`, if there are any, stand before every port but `surroundings`.
    """
    clock = SystemClock()
    observer = Several([Unfailing(LogObserver(clock.monotonic)), Unfailing(counting)])
    faults = plan.start(clock=clock, observer=observer) if plan else None
    sealer = Sealer([base64.b64decode(key.get_secret_value()) for key in settings.seal_keys])
    store = PostgresStore(
        settings.database_url.get_secret_value(),
        owner=owner,
        sealer=sealer,
        lease_s=settings.lease_s,
        grouped=observer.grouped,
        faults=faults.commit_point if faults else no_faults,
    )
    stack.push_async_callback(store.close)
    await store.start()
    participants = {}
    for name, address in settings.participants.items():
        wire = faults.to_participant(name) if faults else ()
        streams = settings.participant_limit(name).streams
        adapter = GrpcParticipant(address, streams=streams, interceptors=wire)
        stack.push_async_callback(adapter.close)
        participant = faults.participant(name, adapter) if faults else adapter
        participants[name] = Measured(name, participant, clock=clock, observer=observer)
    publisher = await _open_publisher(settings, stack)
    return World(
        store=faults.store(store) if faults else store,
        participants=participants,
        publisher=faults.publisher(publisher) if faults and publisher else publisher,
        clock=clock,
        ids=ids,
        randomness=SystemRandomness(),
        observer=observer,
        surroundings=SystemSurroundings(store, settings.participants, settings.nats_url),
        faults=faults,
    )


async def _open_publisher(settings: Settings, stack: AsyncExitStack) -> Publisher | None:
    if not settings.nats_url or not settings.role.works:
        return None
    publisher = NatsPublisher(settings.nats_url)
    stack.push_async_callback(publisher.close)
    await publisher.start()
    return publisher
