"""`kessai config show`: the settings that `kessai serve` would have here, and where they are from.

Heavy modules (pydantic, SQLAlchemy) are imported inside the command, so that `--help` is quick.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from typer.main import get_command

from coordinator.cli.app import app as root
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.helps import command, epilog
from coordinator.cli.output import Format, OutputOption, emit_all, plain, say, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.config import Settings
    from coordinator.origins import Origin

MASK = "***"
_QUOTED = "%2A%2A%2A"
_DIGEST = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")
_INTERNAL = "worker"
"""Set by the parent of several workers alone."""

app = typer.Typer(
    name="config",
    help="See the settings of `kessai serve`.",
    no_args_is_help=True,
    epilog=epilog("kessai config show --origin"),
)


@command(
    app,
    "kessai config show",
    "kessai config show --origin",
    "KESSAI_CONFIG=/etc/kessai.toml kessai config show --origin --output json",
    "kessai config show --origin --lease-s 10",
    forwards=True,
)
def show(
    ctx: typer.Context,
    *,
    origin: Annotated[
        bool, typer.Option("--origin", help="Also show where each setting comes from.")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Shows the settings that `kessai serve` would have here, with its flags if any are given.

    A flag wins over a KESSAI_… variable, that over the TOML file named by KESSAI_CONFIG, and that
    over the default. Secrets are masked. Settings that cannot be used are an error, as they would
    be for `serve`.
    """
    from coordinator.cli.server import given_settings, load_settings  # noqa: PLC0415 - slow
    from coordinator.domain.errors import ConfigurationError  # noqa: PLC0415 - slow
    from coordinator.faults import planned_faults  # noqa: PLC0415 - slow
    from coordinator.origins import origins  # noqa: PLC0415 - slow

    serve = get_command(root).commands["serve"]  # type: ignore[attr-defined] # it is a group
    context = serve.make_context("serve", list(ctx.args), parent=ctx.find_root())
    # Here an option that may be repeated and was not given is an empty list, for `serve` None.
    flags = {name: None if value in ((), []) else value for name, value in context.params.items()}
    try:
        settings = load_settings(flags)
        found = origins(**given_settings(flags))
    except ConfigurationError as error:
        raise Failure(str(error), ExitCode.USAGE, error.code) from None
    records = [
        {"setting": f"KESSAI_{name.upper()}", "value": shown}
        | ({"origin": [_told(each, name) for each in found[name]]} if origin else {})
        for name, shown in masked(settings).items()
    ]
    emit_all(output, records, lambda: _view(records))
    plan = planned_faults(settings)
    for rule in plan.rules if plan else ():
        say(f"injected on purpose: {rule}")


def masked(settings: Settings) -> Mapping[str, Any]:
    """Every setting by its name, as JSON has it, without any secret."""
    shown = settings.model_dump(mode="json", exclude={_INTERNAL})  # pydantic masks what is secret
    shown["database_url"] = _without_password(settings.database_url.get_secret_value())
    shown["seal_keys"] = [MASK for _ in settings.seal_keys]
    shown["callback_keys"] = dict.fromkeys(settings.callback_keys, MASK)
    shown["nats_url"] = ",".join(map(_without_user, settings.nats_url.split(",")))
    return shown


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - slow
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - slow

    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        return MASK
    query = {name: MASK if "pass" in name else value for name, value in made.query.items()}
    return made.set(query=query).render_as_string(hide_password=True).replace(_QUOTED, MASK)


def _without_user(url: str) -> str:
    """Tokens stand where the user does."""
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    return url.replace(f"{user}@", f"{MASK}@", 1) if at else url


_FLAGS = {
    "participants": "--participant",
    "callers": "--caller",
    "operators": "--operator",
    "flows": "--flow",
    "limits": "--limit",
    "participant_limits": "--participant-limit",
}


def _told(origin: Origin, name: str) -> str:
    from coordinator.origins import Kind  # noqa: PLC0415 - slow

    match origin.kind:
        case Kind.FLAG:
            return f"flag {_FLAGS.get(name, '--' + name.replace('_', '-'))}"
        case Kind.ENVIRONMENT:
            return f"environment KESSAI_{name.upper()}"
        case Kind.FILE:
            return f"file {origin.where}"
        case Kind.DEFAULT:
            return "default"


def _view(records: Sequence[Mapping[str, Any]]) -> RenderableType:
    columns = ("setting", "value", *(("origin",) if "origin" in records[0] else ()))
    made = table(*columns, whole=("setting",), edge=False)
    for each in records:
        value = each["value"]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        cells = [each["setting"], plain(_DIGEST.sub(r"\1…", text))]
        made.add_row(*cells, *([", ".join(each["origin"])] if "origin" in each else []))
    return made
