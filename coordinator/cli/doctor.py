"""`kessai doctor`: looks at everything that payments need, and says what to do.

The service looks, since it sees what it uses. When it is down, what it stands on is looked at from
here, with the settings that `kessai serve` would have.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from coordinator.cli.app import app
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.helps import OPERATORS, command
from coordinator.cli.invocation import this_command
from coordinator.cli.operator_options import (
    ADMIN_TIMEOUT_S,
    DEFAULT_ADMIN_ADDRESS,
    AdminAddressOption,
    OperatorKeyOption,
    admin,
)
from coordinator.cli.options import TimeoutOption
from coordinator.cli.output import Format, OutputOption, emit_all, say

if TYPE_CHECKING:
    from coordinator.config import Settings
    from coordinator.engine.operate.doctor import Check


@command(
    app,
    "kessai doctor",
    "kessai doctor --output jsonl",
    "KESSAI_CONFIG=/etc/kessai.toml kessai doctor",
    ok="nothing failed; there may be warnings",
    failed="something failed; each check says what to do",
    refused="",
    panel=OPERATORS,
)
def doctor(
    *,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Checks the database, its schema and clock, participants, broker, backlogs.

    The service is asked. When it cannot be reached, what it stands on is checked from here, if
    the settings of `kessai serve` are here (its KESSAI_… variables, or KESSAI_CONFIG).
    """
    from coordinator.cli.operator_show import check_record, checks_view  # noqa: PLC0415 - slow

    try:
        with admin(admin_address, operator_key, timeout) as at:
            found = [check_record(check) for check in at.check_health()]
        found.insert(0, _record("service", "ok", f"it answers at {admin_address}"))
    except Failure as failure:
        if failure.exit_code is not ExitCode.UNREACHABLE:
            raise
        advice = _service_advice(silent=failure.code == "DEADLINE_EXCEEDED")
        found = [_record("service", "failed", failure.message, advice), *_from_here()]
    emit_all(output, found, lambda: checks_view(found))
    counted = Counter(each["status"] for each in found)
    bad = [f"{counted[status]} {status}" for status in ("failed", "warning") if counted[status]]
    say(", ".join(bad) or "all is well")
    if counted["failed"]:
        raise typer.Exit(ExitCode.FAILED)


def _service_advice(*, silent: bool) -> str:
    if silent:
        return "it is there and slow, or stopped: look at its log and its CPU; or --timeout 60"
    run = this_command()
    return (
        f"start `{run} serve` with --admin-listen, or `{run} up`; "
        "another address: --admin-address or KESSAI_ADMIN_ADDRESS"
    )


def _record(name: str, status: str, finding: str, advice: str = "") -> dict[str, str]:
    return {"name": name, "status": status, "finding": finding, "advice": advice}


def _from_here() -> list[dict[str, str]]:
    """What can be checked without the service."""
    from coordinator import config  # noqa: PLC0415 - slow
    from coordinator.domain.errors import ConfigurationError  # noqa: PLC0415 - slow
    from coordinator.engine.operate.doctor import injected  # noqa: PLC0415 - slow
    from coordinator.faults import planned_faults  # noqa: PLC0415 - slow

    try:
        settings = config.load()
        plan = planned_faults(settings)
        checks = asyncio.run(_look(settings))
    except ConfigurationError as error:
        advice = "to look further, run it where `kessai serve` has its settings"
        return [
            _record(
                "settings",
                "warning",
                f"those of `kessai serve` are not here, or not usable: {error}",
                advice,
            )
        ]
    usable = _record("settings", "ok", "those of `kessai serve` are here, and usable")
    found = [injected(plan.rules), *checks] if plan else checks
    return [
        usable,
        *(_record(each.name, each.status.value, each.finding, each.advice) for each in found),
    ]


async def _look(settings: Settings) -> Sequence[Check]:
    from adapters.postgres.store import PostgresStore  # noqa: PLC0415 - slow
    from adapters.sealing import Sealer  # noqa: PLC0415 - slow
    from adapters.surroundings import SystemSurroundings  # noqa: PLC0415 - slow
    from adapters.system import SystemClock, SystemIds  # noqa: PLC0415 - slow
    from coordinator.engine.operate.doctor import look_around  # noqa: PLC0415 - slow

    store = PostgresStore(
        settings.database_url.get_secret_value(),
        owner=f"doctor/{SystemIds().transaction_id()}",
        sealer=Sealer([base64.b64decode(key.get_secret_value()) for key in settings.seal_keys]),
    )
    surroundings = SystemSurroundings(store, settings.participants, settings.nats_url)
    try:
        return await look_around(surroundings, settings.participants, SystemClock())
    finally:
        await store.close()
