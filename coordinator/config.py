"""The settings, and the only reader of the environment.

Order of precedence: command-line flag, `KESSAI_…` environment variable, the TOML file named by
`KESSAI_CONFIG`, default. A value that cannot be used is refused before anything starts, naming the
setting.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from coordinator.config_entries import CallerLimit, KeyDigest, OperatorKey, ParticipantLimit
from coordinator.domain.errors import ConfigurationError
from coordinator.domain.retry import LONGEST_S

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}")
SEAL_KEY_BYTES = 32
MAX_PORT = 65535


def check_address(value: str) -> str:
    """The address itself. Raises ValueError unless it is HOST:PORT."""
    if not _ADDRESS.fullmatch(value) or int(value.rsplit(":", 1)[1]) > MAX_PORT:
        raise ValueError("must be HOST:PORT")
    return value


def _seal_key(value: SecretStr) -> SecretStr:
    try:
        raw = base64.b64decode(value.get_secret_value(), validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != SEAL_KEY_BYTES:
        raise ValueError("must be 32 bytes in base64; `kessai keygen` makes one")
    return value


Address = Annotated[str, AfterValidator(check_address)]
SealKey = Annotated[SecretStr, AfterValidator(_seal_key)]
CALLER_NAME = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
OURSELVES = "kessai"
"""Who did what no operator did; no operator is called so."""
CallerName = Annotated[str, Field(pattern=CALLER_NAME)]


class Role(StrEnum):
    """What a process does: take requests and drive what it accepted, take up what is due, both."""

    ALL = "all"
    SERVE = "serve"
    WORK = "work"

    @property
    def serves(self) -> bool:
        """Whether it takes requests."""
        return self is not Role.WORK

    @property
    def works(self) -> bool:
        """Whether it takes up what is due and publishes the outbox."""
        return self is not Role.SERVE


class Profile(StrEnum):
    """What a process is there for. Faults are injected in none that is for production."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"


class Settings(BaseSettings):
    """Everything `kessai serve` can be told. Secrets never show in `repr`."""

    model_config = SettingsConfigDict(env_prefix="KESSAI_", extra="forbid", frozen=True)

    database_url: SecretStr = Field(description="PostgreSQL URL of the coordinator's own database")
    profile: Profile = Field(
        Profile.PRODUCTION,
        description="production, staging or development: faults are injected in the last two alone",
    )
    faults: str = Field(
        "",
        description="faults to inject on purpose: a TOML file of rules, or a short text such as "
        "reply-lost@card/confirm,probability=0.3 (docs/testing.md); empty: none",
    )
    role: Role = Field(
        Role.ALL,
        description="all; serve: takes requests and drives them, no recovery and no relay; "
        "work: recovery and relay, no PaymentService",
    )
    workers: int = Field(
        1, ge=1, le=64, description="processes that serve the same address, each with all of this"
    )
    worker: int | None = Field(
        None, ge=0, lt=64, description="which of several workers this is; their parent sets it"
    )
    listen: Address = Field("127.0.0.1:7300", description="address of PaymentService")
    participants: Mapping[str, Address] = Field(
        description="address of each participant by its name, as JSON: "
        '{"points": "HOST:PORT", "card": "HOST:PORT", "merchant": "HOST:PORT"}'
    )
    callers: Mapping[CallerName, KeyDigest] = Field(
        {},
        validate_default=True,
        description="SHA-256 (hex) of each caller's API key, as JSON: "
        '{"shop": "…"}; `kessai keygen` makes keys',
    )
    seal_keys: tuple[SealKey, ...] = Field(
        min_length=1,
        description="keys that seal card tokens at rest, as a JSON list of 32 bytes in base64: "
        "the first seals, all of them open",
    )
    callback_keys: Mapping[str, SealKey] = Field(
        default_factory=dict,
        description="keys that participants sign their reports with, as JSON: 32 bytes in base64 "
        'by participant, {"card": "…"}; without one, its reports are refused',
    )
    admin_listen: Address | Literal[""] = Field(
        "", description="address of AdminService, for operators; empty: it is not served"
    )
    operators: Mapping[CallerName, OperatorKey] = Field(
        {},
        validate_default=True,
        description="SHA-256 (hex) of each operator's key, and until when it opens AdminService, "
        'as JSON: {"alice": {"sha256": "…", "expires": "2027-01-01T00:00:00Z"}} or '
        '{"alice": "…"}; `kessai keygen --operator` makes keys',
    )
    flows: tuple[str, ...] = Field(
        (), description="flows to serve, as a JSON list of names; empty: all of them"
    )
    nats_url: str = Field("", description="NATS server; without one, events wait in the outbox")
    reflection: bool = Field(default=False, description="serve gRPC reflection")
    log_format: Literal["json", "console"] = Field("json", description="form of the log on stderr")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="log level")
    max_in_flight: int = Field(5000, ge=1, description="calls served at once, others are refused")
    max_amount_minor: int = Field(
        10_000_000_00, ge=1, description="largest payment, in minor units of its currency"
    )
    limits: Mapping[str, CallerLimit] = Field(
        {},
        description="limits of each caller, as JSON: "
        '{"shop": {"max_amount_minor": 500000, "max_live": 200, "per_second": 50}}; '
        '"*" is every caller without an entry',
    )
    participant_limits: Mapping[str, ParticipantLimit] = Field(
        {},
        description="what keeps the trouble of each participant to itself, as JSON: "
        '{"card": {"max_in_flight": 256, "timeout_s": 3, "breaker_failures": 10, '
        '"breaker_open_s": 5, "streams": true}}; "*" is every participant without an entry',
    )
    pause_limit: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="a flow pauses itself when more than this share of its payments was released "
        "because a participant did not answer; 0: never",
    )
    pause_at_least: int = Field(20, ge=1, description="with fewer payments nothing is paused")
    pause_window_s: float = Field(
        60.0, gt=0, le=86_400, description="how far back these payments count, in seconds"
    )
    pause_s: float = Field(
        30.0, gt=0, le=86_400, description="how long a flow pauses itself, in seconds"
    )
    deadline_margin_s: float = Field(
        0.1, ge=0, description="how long before the caller's deadline the answer leaves, in seconds"
    )
    patience_s: float = Field(
        1.0, ge=0, description="waits up to this long keep a task; longer ones go to the table"
    )
    lease_s: float = Field(30.0, gt=0, description="how long a claim lasts, in seconds")
    recover_interval_s: float = Field(1.0, gt=0, description="pause between recovery scans")
    relay_interval_s: float = Field(0.2, gt=0, description="pause between outbox scans")
    drain_s: float = Field(10.0, ge=0, description="how long a stopping server finishes its calls")
    attention_after_s: float = Field(
        900.0,
        gt=0,
        le=LONGEST_S,
        description="a transaction that is decided and not done after so long needs a person",
    )
    metrics_listen: Address | Literal[""] = Field(
        "", description="address of /metrics for Prometheus, over HTTP; empty: none"
    )

    @field_validator("faults")
    @classmethod
    def _faults_outside_production(cls, faults: str, info: ValidationInfo) -> str:
        if faults.strip() and info.data.get("profile") is Profile.PRODUCTION:
            raise ValueError(
                "faults are never injected with the profile production; leave them out, or "
                "choose another profile (KESSAI_PROFILE) where no real money moves"
            )
        return faults.strip()

    @field_validator("callers")
    @classmethod
    def _callers_of_a_server(
        cls, callers: Mapping[str, str], info: ValidationInfo
    ) -> Mapping[str, str]:
        role = info.data.get("role")  # not there when it is at fault itself
        if not callers and role is not None and role.serves:
            raise ValueError(
                "required unless the role is work: without callers nobody could ask for anything"
            )
        return callers

    @field_validator("operators")
    @classmethod
    def _operators_of_the_admin_port(
        cls, operators: Mapping[str, OperatorKey], info: ValidationInfo
    ) -> Mapping[str, OperatorKey]:
        if info.data.get("admin_listen") and not operators:
            raise ValueError("required with KESSAI_ADMIN_LISTEN: nobody else could use it")
        if OURSELVES in operators:
            raise ValueError(f"{OURSELVES} is what Kessai calls itself; choose another name")
        keys = [key.sha256 for key in operators.values()]
        callers = info.data.get("callers") or {}
        if len(set(keys)) < len(keys) or set(keys) & set(callers.values()):
            raise ValueError("each operator needs a key of its own, that no caller has either")
        return operators

    @field_validator("limits")
    @classmethod
    def _limits_of_callers(
        cls, limits: Mapping[str, CallerLimit], info: ValidationInfo
    ) -> Mapping[str, CallerLimit]:
        callers = info.data.get("callers")  # not there when it is at fault itself
        unknown = sorted(limits.keys() - {"*", *callers}) if callers is not None else []
        if unknown:
            raise ValueError(
                f"unknown caller {', '.join(unknown)}; use names that KESSAI_CALLERS has, "
                'or "*" for every caller without an entry'
            )
        return limits

    @field_validator("participant_limits")
    @classmethod
    def _limits_of_participants(
        cls, limits: Mapping[str, ParticipantLimit], info: ValidationInfo
    ) -> Mapping[str, ParticipantLimit]:
        participants = info.data.get("participants")  # not there when it is at fault itself
        unknown = sorted(limits.keys() - {"*", *participants}) if participants is not None else []
        if unknown:
            raise ValueError(
                f"unknown participant {', '.join(unknown)}; use names that KESSAI_PARTICIPANTS "
                'has, or "*" for every participant without an entry'
            )
        return limits

    def participant_limit(self, participant: str) -> ParticipantLimit:
        """The participant's own limits, or those of all that have no entry."""
        limits = self.participant_limits
        return limits.get(participant) or limits.get("*") or ParticipantLimit()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - signature of the base
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - signature of the base
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the file."""
        path = os.environ.get("KESSAI_CONFIG")  # noqa: TID251 - this module is the reader
        if path:
            _refuse_unreadable(path)
        file = (TomlConfigSettingsSource(settings_cls, Path(path)),) if path else ()
        return (init_settings, env_settings, *file)


def _refuse_unreadable(path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"KESSAI_CONFIG: {path}: {error.strerror}") from None


def load(**flags: object) -> Settings:
    """The settings; flags that are None were not given.

    Raises ConfigurationError naming every setting at fault; secrets are not echoed.
    """
    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"KESSAI_{'.'.join(str(part) for part in item['loc']).upper()}: {_told(item)}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"{problems} (see `kessai serve --help`)") from None
    except SettingsError as error:
        named = re.search(r'field "(\w+)"', str(error))
        problem = f"KESSAI_{named[1].upper()}: must be JSON" if named else str(error)
        raise ConfigurationError(f"{problem} (see `kessai serve --help`)") from None
    except TOMLDecodeError as error:
        path = os.environ.get("KESSAI_CONFIG")  # noqa: TID251 - this module is the reader
        raise ConfigurationError(f"KESSAI_CONFIG: {path}: no TOML: {error}") from None
    except ValueError as error:  # a JSON value that cannot be parsed
        raise ConfigurationError(f"{error} (see `kessai serve --help`)") from None


def _told(problem: ErrorDetails) -> str:
    """What is wrong with a setting, for people who do not know pydantic."""
    plain = {"missing": "required, and not set", "extra_forbidden": "no such setting"}
    return plain.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings as variables that give a child the same ones. Secrets are among them."""

    def bare(value: object) -> str:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if isinstance(value, datetime):
            return value.isoformat()
        raise TypeError(f"no setting is of type {type(value).__name__}")

    given = settings.model_dump(exclude_none=True)
    return {
        f"KESSAI_{name.upper()}": value
        if isinstance(value, str)
        else bare(value)
        if isinstance(value, SecretStr)
        else json.dumps(value, default=bare)
        for name, value in given.items()
    }


def api_key_from_environment() -> str:
    """The client's API key, from KESSAI_API_KEY; empty if there is none."""
    return os.environ.get("KESSAI_API_KEY", "")  # noqa: TID251 - this module is the reader


def child_environment(**variables: str) -> dict[str, str]:
    """The environment for a child: ours without any KESSAI_ variable, plus `variables`."""
    inherited = os.environ.items()  # noqa: TID251 - this module is the reader
    kept = {name: value for name, value in inherited if not name.startswith("KESSAI_")}
    return kept | variables
