"""`kessai serve` and `kessai migrate`: the coordinator itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.app import app
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.helps import RUNNING, command
from coordinator.cli.lifeline import LifelineOption, hold_lifeline
from coordinator.cli.options import parse_objects, parse_pairs
from coordinator.cli.output import Format, OutputOption, emit
from coordinator.cli.ports import refuse_taken
from coordinator.cli.ready import announce, announce_admin

if TYPE_CHECKING:
    from coordinator.config import Role, Settings
    from coordinator.domain.errors import StoreUnavailable


# The flags of `kessai serve`, one for each setting that is not a secret key.
_DatabaseUrlFlag = Annotated[
    str | None,
    typer.Option(help="PostgreSQL URL of the coordinator's own database. Required."),
]
_ProfileFlag = Annotated[
    str | None,
    typer.Option(
        help="production, staging or development: faults are injected in the last two alone.",
        show_default="production",
    ),
]
_FaultsFlag = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|RULE;…",
        help="Faults to inject on purpose: a TOML file of rules, or rules such as "
        "reply-lost@card/confirm,probability=0.3 (docs/testing.md). Without: none.",
    ),
]
_RoleFlag = Annotated[
    str | None,
    typer.Option(
        help="all; serve: takes requests and drives what it accepted; "
        "work: recovery and relay, serves health alone.",
        show_default="all",
    ),
]
_WorkersFlag = Annotated[
    int | None,
    typer.Option(
        help="Processes that serve the same address, at most 64; each has all of these settings.",
        show_default="1",
    ),
]
_ListenFlag = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of PaymentService; port 0: any free one.",
        show_default="127.0.0.1:7300",
    ),
]
_ParticipantFlag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=HOST:PORT", help="A participant's address; once for each. Required."
    ),
]
_CallerFlag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SHA256",
        help="A caller and the SHA-256 (hex) of its API key; repeatable. "
        "Required, except with --role work.",
    ),
]
_AdminListenFlag = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of AdminService, for operators; port 0: any free one. Without it: off.",
    ),
]
_OperatorFlag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SHA256",
        help="An operator and the SHA-256 (hex) of their key; repeatable.",
    ),
]
_FlowFlag = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A flow to serve; repeatable. Without any: all of them."),
]
_NatsUrlFlag = Annotated[
    str | None, typer.Option(help="NATS server; without one, events wait in the outbox.")
]
_ReflectionFlag = Annotated[
    bool | None,
    typer.Option(
        "--reflection/--no-reflection", help="Serve gRPC reflection.", show_default="no-reflection"
    ),
]
_LogFormatFlag = Annotated[str | None, typer.Option(help="json or console.", show_default="json")]
_LogLevelFlag = Annotated[
    str | None, typer.Option(help="debug, info, warning or error.", show_default="info")
]
_MaxInFlightFlag = Annotated[
    int | None, typer.Option(help="Calls served at once; others are refused.", show_default="5000")
]
_MaxAmountMinorFlag = Annotated[
    int | None,
    typer.Option(
        help="Largest payment, in minor units of its currency.", show_default="1000000000"
    ),
]
_LimitFlag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=JSON",
        help='A caller\'s limits, such as shop={"max_amount_minor": 500000, "max_live": 200, '
        '"per_second": 50}; repeatable. Name *: every caller without an entry.',
    ),
]
_ParticipantLimitFlag = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=JSON",
        help='A participant\'s limits, such as card={"max_in_flight": 256, "timeout_s": 3, '
        '"breaker_failures": 10, "breaker_open_s": 5}; repeatable. Name *: every participant '
        "without an entry.",
    ),
]
_PauseLimitFlag = Annotated[
    float | None,
    typer.Option(
        help="A flow pauses itself when more than this share of its payments was released because "
        "a participant did not answer; 0: never.",
        show_default="0.5",
    ),
]
_PauseAtLeastFlag = Annotated[
    int | None, typer.Option(help="With fewer payments nothing is paused.", show_default="20")
]
_PauseWindowSFlag = Annotated[
    float | None, typer.Option(help="How far back these payments count.", show_default="60")
]
_PauseSFlag = Annotated[
    float | None, typer.Option(help="How long a flow pauses itself.", show_default="30")
]
_DeadlineMarginSFlag = Annotated[
    float | None,
    typer.Option(help="How long before a caller's deadline the answer leaves.", show_default="0.1"),
]
_PatienceSFlag = Annotated[
    float | None, typer.Option(help="Longer waits are handed to the table.", show_default="1")
]
_LeaseSFlag = Annotated[
    float | None, typer.Option(help="How long a claim lasts.", show_default="30")
]
_RecoverIntervalSFlag = Annotated[
    float | None, typer.Option(help="Pause between recovery scans.", show_default="1")
]
_RelayIntervalSFlag = Annotated[
    float | None, typer.Option(help="Pause between outbox scans.", show_default="0.2")
]
_MetricsListenFlag = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of /metrics for Prometheus, over HTTP; port 0: any free one. Without: none.",
    ),
]
_AttentionAfterSFlag = Annotated[
    float | None,
    typer.Option(
        help="A payment that is decided and not done after so long needs a person.",
        show_default="900",
    ),
]
_DrainSFlag = Annotated[
    float | None,
    typer.Option(help="How long a stopping server finishes its calls.", show_default="10"),
]


@command(
    app,
    "kessai serve --database-url postgresql://kessai@db/kessai \\",
    "  --nats-url nats://nats:4222 \\",
    "  --participant points=points:7401 --participant card=card:7402 \\",
    "  --participant merchant=merchant:7403 --participant stock=stock:7404",
    "KESSAI_CONFIG=/etc/kessai.toml kessai serve --log-format json",
    failed="it could not go on serving, or the address is in use",
    unreachable="the database cannot be reached",
    interruptible=False,
    panel=RUNNING,
)
def serve(
    *,
    database_url: _DatabaseUrlFlag = None,
    profile: _ProfileFlag = None,
    faults: _FaultsFlag = None,
    role: _RoleFlag = None,
    workers: _WorkersFlag = None,
    listen: _ListenFlag = None,
    participant: _ParticipantFlag = None,
    caller: _CallerFlag = None,
    admin_listen: _AdminListenFlag = None,
    operator: _OperatorFlag = None,
    flow: _FlowFlag = None,
    nats_url: _NatsUrlFlag = None,
    reflection: _ReflectionFlag = None,
    log_format: _LogFormatFlag = None,
    log_level: _LogLevelFlag = None,
    max_in_flight: _MaxInFlightFlag = None,
    max_amount_minor: _MaxAmountMinorFlag = None,
    limit: _LimitFlag = None,
    participant_limit: _ParticipantLimitFlag = None,
    pause_limit: _PauseLimitFlag = None,
    pause_at_least: _PauseAtLeastFlag = None,
    pause_window_s: _PauseWindowSFlag = None,
    pause_s: _PauseSFlag = None,
    deadline_margin_s: _DeadlineMarginSFlag = None,
    patience_s: _PatienceSFlag = None,
    lease_s: _LeaseSFlag = None,
    recover_interval_s: _RecoverIntervalSFlag = None,
    relay_interval_s: _RelayIntervalSFlag = None,
    drain_s: _DrainSFlag = None,
    attention_after_s: _AttentionAfterSFlag = None,
    metrics_listen: _MetricsListenFlag = None,
    lifeline: LifelineOption = False,
) -> None:
    """Runs the coordinator in the foreground until SIGTERM or Ctrl-C, then drains.

    Every flag can also be set as KESSAI_… in the environment (--participant: KESSAI_PARTICIPANTS,
    --caller: KESSAI_CALLERS, --operator: KESSAI_OPERATORS, --flow: KESSAI_FLOWS, --limit:
    KESSAI_LIMITS, --participant-limit: KESSAI_PARTICIPANT_LIMITS, all as JSON) or in the TOML file
    named by KESSAI_CONFIG. Keys have no flag, since command lines can be read by others:
    KESSAI_SEAL_KEYS takes a JSON list of those that seal card tokens, KESSAI_CALLBACK_KEYS an
    object of those that participants sign with; `kessai keygen` makes them. The database's URL,
    participants, callers and seal keys are required, all else has a default. Times are in seconds.
    When it is ready it prints a line: listening on HOST:PORT;
    before it, when operators are served, another one: admin listening on HOST:PORT.

    With --role serve and --role work, processes that take requests and processes that recover are
    apart; run at least one of each, since whatever has to wait goes on in a working one. With
    --workers N, a parent starts N processes on the one address, hands signals on to them, and
    starts again whichever ends by itself; a second signal kills them.
    """
    flags = dict(locals())
    from coordinator.domain.errors import (  # noqa: PLC0415 - slow
        ConfigurationError,
        StoreUnavailable,
    )

    try:
        settings = load_settings(flags)
        if lifeline:
            hold_lifeline()
        _run(settings)
    except ConfigurationError as error:
        raise Failure(str(error), ExitCode.USAGE, error.code) from None
    except StoreUnavailable as error:
        raise _database_is_away(error) from None


def _run(settings: Settings) -> None:
    """One process, or the parent of several, or one of these."""
    if settings.workers > 1 and settings.worker is None:
        from coordinator.cli import workers  # noqa: PLC0415 - slow

        if status := workers.run(settings, announce, announce_admin):
            raise typer.Exit(status)
        return
    from coordinator import bootstrap  # noqa: PLC0415 - slow

    if settings.worker is None:  # otherwise the parent has asked, and holds the port
        refuse_taken(settings.listen, "--listen")
        if settings.metrics_listen:
            refuse_taken(settings.metrics_listen, "--metrics-listen")
        if settings.admin_listen:
            refuse_taken(settings.admin_listen, "--admin-listen")
    bootstrap.serve(settings, on_ready=announce, on_admin=announce_admin)


_OF_SERVING = ("caller", "limit", "max_amount_minor", "deadline_margin_s")
_OF_WORKING = ("nats_url", "recover_interval_s", "relay_interval_s")


def given_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of `serve` as settings by their names; None for what was not given.

    Raises typer.BadParameter.
    """
    given = {name: value for name, value in flags.items() if name != "lifeline"}
    return {
        "participants": parse_pairs("--participant", given.pop("participant")),
        "callers": parse_pairs("--caller", given.pop("caller")),
        "operators": parse_pairs("--operator", given.pop("operator")),
        "flows": given.pop("flow") or None,
        "limits": parse_objects("--limit", given.pop("limit")),
        "participant_limits": parse_objects("--participant-limit", given.pop("participant_limit")),
        **given,
    }


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """The settings, of which `flags` were given unless they are None.

    Raises Failure, typer.BadParameter, ConfigurationError.
    """
    from coordinator import config  # noqa: PLC0415 - slow
    from coordinator.faults import planned_faults  # noqa: PLC0415 - slow

    settings = config.load(**given_settings(flags))
    planned_faults(settings)  # a rule that cannot be used is found before anything starts
    _refuse_idle(settings.role, flags)
    return settings


def _refuse_idle(role: Role, flags: Mapping[str, object]) -> None:
    """Raises Failure for a flag without effect in this role.

    The environment and the file may have such settings: processes of both roles can share them.
    """
    idle = _OF_WORKING if role.serves else _OF_SERVING
    does = "runs no recovery and no relay" if role.serves else "takes no requests"
    for name in idle if role != "all" else ():
        if flags[name] is not None:
            flag = f"--{name.replace('_', '-')}"
            raise Failure(
                f"{flag} has no effect with the role {role}, which {does}",
                ExitCode.USAGE,
                hint=f"leave {flag} out, or choose another --role",
            )


@command(
    app,
    "kessai migrate --database-url postgresql://kessai@db/kessai",
    "KESSAI_DATABASE_URL=postgresql://kessai@db/kessai kessai migrate",
    failed="the schema could not be brought up to date",
    unreachable="the database cannot be reached",
    panel=RUNNING,
)
def migrate(
    *,
    database_url: Annotated[
        str,
        typer.Option(
            envvar="KESSAI_DATABASE_URL",
            help="PostgreSQL URL of the coordinator's own database.",
            show_default=False,
        ),
    ],
    output: OutputOption = Format.TABLE,
) -> None:
    """Brings the coordinator's database to this version's schema. Safe to repeat."""
    from adapters.postgres import migrate as migrations  # noqa: PLC0415 - slow
    from coordinator.domain.errors import (  # noqa: PLC0415 - slow
        ConfigurationError,
        StoreUnavailable,
    )

    try:
        before = migrations.current_revision(database_url)
        revision = migrations.migrate(database_url)
    except ConfigurationError as error:
        raise Failure(str(error), ExitCode.USAGE, error.code) from None
    except StoreUnavailable as error:
        raise _database_is_away(error) from None
    record = {"revision": revision, "changed": before != revision}
    what = "was brought to" if record["changed"] else "is already at"
    emit(output, record, lambda: f"the schema {what} revision {revision}")


def _database_is_away(error: StoreUnavailable) -> Failure:
    return Failure("the database cannot be used", ExitCode.UNREACHABLE, error.code, error.detail)
