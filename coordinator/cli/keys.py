"""Makes keys: `kessai keygen`, and the ones `kessai up` keeps in its folder.

The only module that asks for secret randomness. Keys are shown once and stored by whoever asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets  # noqa: TID251 - keys must be unguessable; the Randomness port makes only jitter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.app import app
from coordinator.cli.failures import Failure
from coordinator.cli.helps import RUNNING, command
from coordinator.cli.output import Format, OutputOption, emit, lines

SEAL_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Keys of a caller and of an operator, and one that seals card tokens at rest (base64)."""

    api_key: str
    seal_key: str
    operator_key: str

    @property
    def api_key_digest(self) -> str:
        """What the server knows of the API key: its SHA-256, in hex."""
        return digest(self.api_key)

    @property
    def operator_key_digest(self) -> str:
        """What the server knows of the operator's key."""
        return digest(self.operator_key)


def digest(key: str) -> str:
    """A key's SHA-256, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_keys() -> Keys:
    """Fresh keys of 256 bits each."""
    seal_key = base64.b64encode(secrets.token_bytes(SEAL_KEY_BYTES)).decode()
    return Keys(api_key=new_api_key(), seal_key=seal_key, operator_key=new_api_key())


def kept_keys(path: Path) -> Keys:
    """The keys in `path`, which only its owner can read; made at the first call."""
    try:
        kept = json.loads(path.read_text())
        keys = Keys(**{"operator_key": new_api_key(), **kept})
    except FileNotFoundError:
        kept, keys = {}, new_keys()
    except (ValueError, TypeError):
        raise Failure(f"{path} is not a file of keys; move it away to have new ones") from None
    if asdict(keys) != kept:  # none yet, or made before there were operators
        _write(path, keys)
    return keys


def _write(path: Path, keys: Keys) -> None:
    """All of it or nothing, for its owner alone."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(keys), file)
    beside.replace(path)


def new_api_key() -> str:
    """A fresh key of a caller or an operator, of 256 bits."""
    return f"kessai_{secrets.token_urlsafe(32)}"


@command(
    app,
    "kessai keygen --caller shop",
    "kessai keygen --operator alice",
    "kessai keygen --output json",
    'eval "$(kessai keygen)" && kessai serve …',
    panel=RUNNING,
)
def keygen(
    *,
    caller: Annotated[
        str, typer.Option(help="The caller's name: letters, digits, dot, dash, underscore.")
    ] = "shop",
    operator: Annotated[
        str | None,
        typer.Option(
            help="Makes an operator's key instead, and nothing else; the operator's name, which "
            "journals show.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Makes a caller's API key and a key that seals card tokens, and prints them once.

    The client takes KESSAI_API_KEY; the server takes the other two. An operator's key is
    KESSAI_OPERATOR_KEY for the operator; the server takes KESSAI_OPERATORS, in which an entry may
    also be an object, to say when the key ends: {"alice": {"sha256": "…", "expires":
    "2027-01-01T00:00:00Z"}}.
    """
    if operator is not None:
        _refuse_bad_name(operator, "--operator")
        _print_operator(operator, output)
        return
    _refuse_bad_name(caller, "--caller")
    keys = new_keys()
    record = {
        "KESSAI_API_KEY": keys.api_key,
        "KESSAI_CALLERS": json.dumps({caller: keys.api_key_digest}),
        "KESSAI_SEAL_KEYS": json.dumps([keys.seal_key]),
    }
    if output is Format.TABLE:
        lines("\n".join(f"export {name}='{value}'" for name, value in record.items()))
        return
    facts = {
        "caller": caller,
        "api_key": keys.api_key,
        "api_key_sha256": keys.api_key_digest,
        "seal_key": keys.seal_key,
    }
    emit(output, facts, str)


def _refuse_bad_name(name: str, option: str) -> None:
    from coordinator.config import CALLER_NAME, OURSELVES  # noqa: PLC0415 - slow

    if not CALLER_NAME.fullmatch(name) or name.endswith("\n"):
        raise typer.BadParameter(
            "must be 1 to 64 letters, digits, dots, dashes or underscores", param_hint=option
        )
    if option == "--operator" and name == OURSELVES:
        raise typer.BadParameter("is what Kessai calls itself; choose another", param_hint=option)


def _print_operator(operator: str, output: Format) -> None:
    key = new_api_key()
    sha256 = digest(key)
    if output is Format.TABLE:
        operators = json.dumps({operator: sha256})
        lines(f"export KESSAI_OPERATOR_KEY='{key}'\nexport KESSAI_OPERATORS='{operators}'")
        return
    emit(output, {"operator": operator, "operator_key": key, "operator_key_sha256": sha256}, str)
