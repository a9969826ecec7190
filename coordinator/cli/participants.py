"""`kessai participants`: whether those that payments need can be reached, and who waits for them.

Not `kessai participant …`, which runs and checks one of them.
"""

from __future__ import annotations

from coordinator.cli.app import app
from coordinator.cli.helps import OPERATORS, command
from coordinator.cli.operator_options import (
    ADMIN_TIMEOUT_S,
    DEFAULT_ADMIN_ADDRESS,
    AdminAddressOption,
    OperatorKeyOption,
    admin,
)
from coordinator.cli.options import TimeoutOption
from coordinator.cli.output import Format, OutputOption, data, emit_all


@command(
    app,
    "kessai participants",
    "kessai participants --output json",
    ok="ok, also when one cannot be reached",
    unreachable="",
    refused="",
    panel=OPERATORS,
)
def participants(
    *,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Lists the participants, whether they answer, and who waits for them.

    Health is asked now. Breaker and calls (under way) are those of the process that answers; each
    process has its own. Waiting are steps whose last call failed, and since when the oldest does.
    """
    from coordinator.cli.operator_show import participants_view  # noqa: PLC0415 - slow
    from coordinator.cli.show import record  # noqa: PLC0415 - slow

    with admin(admin_address, operator_key, timeout) as at:
        found = at.participants()
    emit_all(output, map(record, found), lambda: participants_view(found, data().width))
