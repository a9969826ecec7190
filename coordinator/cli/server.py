"""`kessai serve` and `kessai migrate`: the coordinator itself."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.failures import ExitCode, Failure, epilog
from coordinator.cli.lifeline import LifelineOption, hold_lifeline
from coordinator.cli.ready import announce

SERVE_EPILOG = epilog(
    "kessai serve --database-url postgresql://kessai@db/kessai --nats-url nats://nats:4222 \\",
    "  --participant points=points:7401 --participant card=card:7402 \\",
    "  --participant merchant=merchant:7403",
    "KESSAI_CONFIG=/etc/kessai.toml kessai serve --log-format json",
    failed="it could not go on serving",
    unreachable="the database cannot be reached",
)
MIGRATE_EPILOG = epilog(
    "kessai migrate --database-url postgresql://kessai@db/kessai",
    "KESSAI_DATABASE_URL=postgresql://kessai@db/kessai kessai migrate",
    failed="the schema could not be brought up to date",
    unreachable="the database cannot be reached",
)


def _pairs(option: str, values: list[str] | None) -> dict[str, str] | None:
    """NAME=VALUE options as a mapping; None if none was given."""
    if not values:
        return None
    pairs = dict(value.partition("=")[::2] for value in values)
    if not all(name and value for name, value in pairs.items()) or len(pairs) < len(values):
        raise typer.BadParameter("must be NAME=VALUE, each name once", param_hint=option)
    return pairs


def serve(
    database_url: Annotated[
        str | None, typer.Option(help="PostgreSQL URL of the coordinator's own database.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Address of PaymentService; port 0: any free one."),
    ] = None,
    participant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=HOST:PORT", help="A participant's address; once for each."),
    ] = None,
    caller: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHA256", help="A caller and the SHA-256 (hex) of its API key; repeatable."
        ),
    ] = None,
    nats_url: Annotated[
        str | None, typer.Option(help="NATS server; without one, events wait in the outbox.")
    ] = None,
    reflection: Annotated[
        bool | None, typer.Option("--reflection/--no-reflection", help="Serve gRPC reflection.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(help="Calls served at once; others are refused.")
    ] = None,
    max_amount_minor: Annotated[
        int | None, typer.Option(help="Largest payment, in minor units of its currency.")
    ] = None,
    deadline_margin_s: Annotated[
        float | None, typer.Option(help="How long before a caller's deadline the answer leaves.")
    ] = None,
    patience_s: Annotated[
        float | None, typer.Option(help="Longer waits are handed to the table.")
    ] = None,
    lease_s: Annotated[float | None, typer.Option(help="How long a claim lasts.")] = None,
    recover_interval_s: Annotated[
        float | None, typer.Option(help="Pause between recovery scans.")
    ] = None,
    relay_interval_s: Annotated[
        float | None, typer.Option(help="Pause between outbox scans.")
    ] = None,
    drain_s: Annotated[
        float | None, typer.Option(help="How long a stopping server finishes its calls.")
    ] = None,
    lifeline: LifelineOption = False,
) -> None:
    """Runs the coordinator in the foreground until SIGTERM or Ctrl-C, then drains.

    Every flag can also be set as KESSAI_… in the environment (--participant: KESSAI_PARTICIPANTS,
    --caller: KESSAI_CALLERS, both as JSON) or in the TOML file named by KESSAI_CONFIG. The keys
    that seal card tokens have no flag, since command lines can be read by others: KESSAI_SEAL_KEYS
    takes a JSON list; `kessai keygen` makes one. Times are in seconds. When it is ready it prints
    one line: listening on HOST:PORT.
    """
    from coordinator import bootstrap, config  # noqa: PLC0415 - slow
    from coordinator.domain.errors import (  # noqa: PLC0415 - slow
        ConfigurationError,
        StoreUnavailable,
    )

    try:
        settings = config.load(
            database_url=database_url,
            listen=listen,
            participants=_pairs("--participant", participant),
            callers=_pairs("--caller", caller),
            nats_url=nats_url,
            reflection=reflection,
            log_format=log_format,
            log_level=log_level,
            max_in_flight=max_in_flight,
            max_amount_minor=max_amount_minor,
            deadline_margin_s=deadline_margin_s,
            patience_s=patience_s,
            lease_s=lease_s,
            recover_interval_s=recover_interval_s,
            relay_interval_s=relay_interval_s,
            drain_s=drain_s,
        )
        if lifeline:
            hold_lifeline()
        bootstrap.serve(settings, on_ready=announce)
    except ConfigurationError as error:
        raise Failure(str(error), ExitCode.USAGE, error.code) from None
    except StoreUnavailable as error:
        raise Failure(str(error), ExitCode.UNREACHABLE, error.code) from None
