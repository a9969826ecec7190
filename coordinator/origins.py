"""Where each setting comes from, for whoever wonders why a server does what it does.

Asks the same sources as `config`, in the same order; knows no values.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic_settings import (
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    TomlConfigSettingsSource,
)

from coordinator.config import Settings


class Kind(StrEnum):
    """Kinds of sources, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


class Origin:
    """One source of a setting; `where` is the file's path, empty for others."""

    def __init__(self, kind: Kind, where: str = "") -> None:
        self.kind = kind
        self.where = where


def origins(**flags: object) -> Mapping[str, tuple[Origin, ...]]:
    """Every setting's sources by its name, the strongest first; flags that are None not given.

    Several only where mappings were merged, entry by entry. Raises what `config.load` translates,
    so call that first.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    environment = EnvSettingsSource(Settings)
    nothing = InitSettingsSource(Settings, {})
    sources = Settings.settings_customise_sources(
        Settings, InitSettingsSource(Settings, given), environment, nothing, nothing
    )
    found: dict[str, list[Origin]] = {name: [] for name in Settings.model_fields}
    for source in sources:
        for name, value in source().items():
            merges = isinstance(value, Mapping)
            if name in found and (merges or not found[name]):
                found[name].append(_origin(source))
    return {name: tuple(all_) or (Origin(Kind.DEFAULT),) for name, all_ in found.items()}


def _origin(source: PydanticBaseSettingsSource) -> Origin:
    if isinstance(source, TomlConfigSettingsSource):
        return Origin(Kind.FILE, str(source.toml_file_path))
    kind = Kind.ENVIRONMENT if isinstance(source, EnvSettingsSource) else Kind.FLAG
    return Origin(kind)
