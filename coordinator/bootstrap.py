"""The only place that wires things together. Importing it does nothing."""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib.metadata import version

import structlog
import uvloop

from adapters.guarded_participant import Guard, GuardedParticipant
from adapters.system import SystemIds
from coordinator.administration import admin_server
from coordinator.config import Settings
from coordinator.connecting import open_world
from coordinator.domain.errors import Bug, ConfigurationError
from coordinator.domain.flow import Flow
from coordinator.domain.pausing import PausePolicy
from coordinator.domain.phase import Phase
from coordinator.engine.accept import Accept
from coordinator.engine.cancel import Cancel
from coordinator.engine.capture import CapturePayment
from coordinator.engine.drive import Driver
from coordinator.engine.intake import INTERVAL_S, Intake
from coordinator.engine.limits import CallerLimits, Limits
from coordinator.engine.periodic import Periodic
from coordinator.engine.recover import Recover
from coordinator.engine.refund import OpenRefund
from coordinator.engine.relay import Relay
from coordinator.engine.renew import Renew
from coordinator.engine.report import Report
from coordinator.faults import FaultPlan, Faults, planned_faults
from coordinator.metrics.monitoring import Monitoring
from coordinator.rpc.callbacks import CallbackServicer
from coordinator.rpc.credentials import Credential, Credentials
from coordinator.rpc.gate import Gate
from coordinator.rpc.payments import PaymentServicer
from coordinator.rpc.server import Server
from coordinator.stopping import Stop, on_signals
from coordinator.telemetry import AlsoCommitted, configure_logs
from coordinator.world import Coordinator, World
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES


def assemble(
    world: World, settings: Settings, *, flows: Mapping[str, Flow], owner: str
) -> Coordinator:
    """The use cases, the background services and the servicer. `owner` names this process."""
    guarded = _guarded(world, settings)
    intake = _intake(world, settings)
    observer = AlsoCommitted(world.observer, intake.committed)
    world = replace(world, participants=guarded, observer=observer)
    driver = Driver(
        store=world.store,
        participants=world.participants,
        flows=flows,
        clock=world.clock,
        randomness=world.randomness,
        observer=world.observer,
        owner=owner,
        patience_s=settings.patience_s,
    )
    cancel = Cancel(store=world.store, driver=driver, flows=flows, clock=world.clock)
    capture = CapturePayment(store=world.store, driver=driver, flows=flows, clock=world.clock)
    refund = OpenRefund(
        store=world.store, driver=driver, flows=flows, clock=world.clock, ids=world.ids
    )
    accept = Accept(
        store=world.store,
        driver=driver,
        cancel=cancel,
        flows=flows,
        clock=world.clock,
        ids=world.ids,
        max_amount_minor=settings.max_amount_minor,
        limits=_limits(world, settings),
        intake=intake,
    )
    gate = Gate(
        credentials=_callers(world, settings),
        max_in_flight=settings.max_in_flight,
        deadline_margin_s=settings.deadline_margin_s,
        observer=world.observer,
    )
    servicer = PaymentServicer(
        gate=gate,
        accept=accept,
        capture=capture,
        cancel=cancel,
        refund=refund,
        store=world.store,
        updates=driver.updates,
    )
    services = _services(world, settings, flows, driver, intake)
    callbacks = _callbacks(world, settings, flows, driver, gate)
    return Coordinator(driver, accept, cancel, services, gate, servicer, callbacks, guarded, intake)


def _guarded(world: World, settings: Settings) -> Mapping[str, GuardedParticipant]:
    """Every participant behind its own bound and breaker."""
    guarded = {}
    for name, participant in world.participants.items():
        limit = settings.participant_limit(name)
        guarded[name] = GuardedParticipant(
            name,
            participant,
            Guard(
                max_in_flight=limit.max_in_flight,
                breaker_failures=limit.breaker_failures,
                breaker_open_s=limit.breaker_open_s,
            ),
            clock=world.clock,
            observer=world.observer,
        )
    return guarded


def server_of(coordinator: Coordinator, settings: Settings, faults: Faults | None = None) -> Server:
    """The gRPC server of this role, not started. Raises ConfigurationError for a bad address."""
    serves = settings.role.serves
    return Server(
        coordinator.servicer if serves else None,
        coordinator.callbacks if serves else None,
        listen=settings.listen,
        max_in_flight=settings.max_in_flight,
        reflect=settings.reflection,
        shared=settings.worker is not None,
        interceptors=faults.from_callers() if faults else (),
    )


def _callbacks(
    world: World, settings: Settings, flows: Mapping[str, Flow], driver: Driver, gate: Gate
) -> CallbackServicer:
    report = Report(
        store=world.store,
        driver=driver,
        participants=world.participants,
        flows=flows,
        clock=world.clock,
        observer=world.observer,
    )
    keys = {
        name: base64.b64decode(key.get_secret_value())
        for name, key in settings.callback_keys.items()
    }
    return CallbackServicer(gate=gate, report=report, keys=keys, clock=world.clock)


def _callers(world: World, settings: Settings) -> Credentials:
    keys = [Credential(name, digest) for name, digest in settings.callers.items()]
    return Credentials("caller", keys, world.clock)


def _limits(world: World, settings: Settings) -> Limits:
    by_caller = {
        caller: CallerLimits(
            max_amount_minor=limit.max_amount_minor,
            max_live=limit.max_live,
            per_second=limit.per_second,
        )
        for caller, limit in settings.limits.items()
    }
    return Limits(by_caller, store=world.store, clock=world.clock)


def _intake(world: World, settings: Settings) -> Intake:
    policy = None
    if settings.pause_limit:
        policy = PausePolicy(
            window_s=settings.pause_window_s,
            at_least=settings.pause_at_least,
            limit=settings.pause_limit,
            pause_s=settings.pause_s,
        )
    return Intake(store=world.store, clock=world.clock, observer=world.observer, policy=policy)


def _services(
    world: World, settings: Settings, flows: Mapping[str, Flow], driver: Driver, intake: Intake
) -> tuple[Periodic, ...]:
    renew = Renew(store=world.store, driver=driver, lease_s=settings.lease_s)
    services: list[tuple[str, Callable[[], Awaitable[int]], float]] = [
        ("intake", intake.run_once, INTERVAL_S),
        ("renew", renew.run_once, renew.interval_s),
    ]
    if settings.role.works:
        recover = Recover(
            store=world.store,
            driver=driver,
            flows=flows,
            max_in_flight=settings.max_in_flight,
            clock=world.clock,
        )
        services.append(("recover", recover.run_once, settings.recover_interval_s))
    if settings.role.works and world.publisher is not None:
        relay = Relay(store=world.store, publisher=world.publisher, observer=world.observer)
        services.append(("relay", relay.run_once, settings.relay_interval_s))
    return tuple(
        Periodic(name, run, interval_s=interval_s, clock=world.clock, observer=world.observer)
        for name, run, interval_s in services
    )


def checked_flows(settings: Settings) -> Mapping[str, Flow]:
    """Every flow, bound. Raises BadFlow, or ConfigurationError for a missing address."""
    known = {row.name: row for row in FLOW_ROWS}
    unknown = sorted(set(settings.flows) - known.keys())
    if unknown:
        raise ConfigurationError(
            f"KESSAI_FLOWS: unknown {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    rows = [
        replace(row, attention_after_s=settings.attention_after_s)
        for row in FLOW_ROWS
        if not settings.flows or row.name in settings.flows
    ]
    flows = bind_flows(rows, _phases(settings))
    _check_lease(settings, flows)
    needed = {phase.participant for flow in flows.values() for phase in flow.called}
    missing = sorted(needed - settings.participants.keys())
    if missing:
        raise ConfigurationError(
            f"KESSAI_PARTICIPANTS: no address for {', '.join(missing)}, which the flows need; "
            "KESSAI_FLOWS chooses the flows to serve"
        )
    return flows


def _phases(settings: Settings) -> Mapping[str, Phase]:
    """Every phase, with the time limits that its participant was given."""
    phases = dict(PHASES)
    for name, phase in PHASES.items():
        timeout_s = settings.participant_limit(phase.participant).timeout_s
        if timeout_s is not None:
            phases[name] = replace(phase, retry=replace(phase.retry, timeout_s=timeout_s))
    return phases


def _check_lease(settings: Settings, flows: Mapping[str, Flow]) -> None:
    """A claim outlives the longest call of the process that holds it."""
    longest_s = max(phase.retry.timeout_s for flow in flows.values() for phase in flow.called)
    if settings.lease_s <= longest_s:
        raise ConfigurationError(
            f"KESSAI_LEASE_S: must be above {longest_s:g} s, the longest call of a flow "
            "(KESSAI_PARTICIPANT_LIMITS: timeout_s)"
        )


def settle_memory() -> None:
    """Takes what start-up made out of garbage collection, and collects more seldom.

    Payments in flight are thousands of young objects that die by themselves; scanning them again
    and again was a tenth of the coordinator's CPU time (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def serve(
    settings: Settings,
    on_ready: Callable[[str], None] | None = None,
    on_admin: Callable[[str], None] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    `on_admin` is told the operators' address if there is one, then `on_ready` the callers'.

    Raises ConfigurationError or BadFlow before anything is served.
    """
    configure_logs(settings.log_format, settings.log_level, settings.worker)
    flows = checked_flows(settings)
    plan = planned_faults(settings)
    if plan is not None:
        log = structlog.get_logger()
        log.warning(
            "faults are injected on purpose", profile=settings.profile.value, rules=plan.rules
        )
    settle_memory()
    uvloop.run(_serve(settings, flows, plan, on_ready or _nobody, on_admin or _nobody))


def _nobody(_address: str) -> None:
    """Nobody wants to know the address."""


async def _serve(
    settings: Settings,
    flows: Mapping[str, Flow],
    plan: FaultPlan | None,
    on_ready: Callable[[str], None],
    on_admin: Callable[[str], None],
) -> None:
    stopping = asyncio.Event()
    on_signals(stopping)
    ids = SystemIds()
    owner = f"{socket.gethostname()}/{os.getpid()}/{ids.transaction_id()}"
    async with AsyncExitStack() as stack:
        monitoring = Monitoring(
            version("kessai"),
            settings.metrics_listen,
            participants=settings.participants,
            faults=plan.kinds if plan else (),
        )
        stack.callback(monitoring.close)
        world = await open_world(
            settings, ids=ids, owner=owner, counting=monitoring.observer, plan=plan, stack=stack
        )
        coordinator = assemble(world, settings, flows=flows, owner=owner)
        driver, gate = coordinator.driver, coordinator.gate
        monitoring.watch(
            driven=lambda: driver.in_flight,
            calls=lambda: gate.calls,
            participants=coordinator.participants,
        )
        looking = monitoring.services(
            store=world.store, clock=world.clock, observer=world.observer, flows=flows
        )
        server = server_of(coordinator, settings, world.faults)
        await coordinator.intake.run_once()  # no payment slips past a pause while we start
        services = (*coordinator.services, *looking)
        background = {service.name: asyncio.create_task(service.run()) for service in services}
        admin = admin_server(world, coordinator, settings, flows=flows, owner=owner)
        if admin is not None:
            await admin.start()
            stack.push_async_callback(admin.stop)
            on_admin(admin.address)
        await server.start()
        on_ready(server.address)
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait([asked, *background.values()], return_when=asyncio.FIRST_COMPLETED)
        stop = Stop(
            gate=gate,
            server=server,
            admin=admin,
            driver=driver,
            store=world.store,
            background=background,
            clock=world.clock,
            observer=world.observer,
        )
        given_back = await stop(settings.drain_s)
        structlog.get_logger().info("stopped", given_back=given_back)
        if not asked.done():
            asked.cancel()
            ends = await asyncio.gather(*background.values(), return_exceptions=True)
            raise Bug(f"a background service ended: {ends}")
