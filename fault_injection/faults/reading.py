"""Reads rules: from a TOML file, or from a short text.

    [[fault]]                                reply-lost@card_charge/confirm,probability=0.3; \
    kind = "reply-lost"                      broker-away@publisher,every=100,duration_s=5
    place = "card_charge/confirm"
    probability = 0.3

A text that ends in `.toml` is a file's path. A file may say `seed = 7` at its top, for every rule
without one of its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from coordinator.domain.errors import ConfigurationError
from fault_injection.faults.rules import BadField, Rule, rule_of

_FILE = ".toml"


def read(text: str) -> tuple[Rule, ...]:
    """The rules of a file or of a short text. Raises ConfigurationError naming rule and field."""
    rules = _of_file(text.strip()) if text.strip().endswith(_FILE) else _of_text(text)
    if not rules:
        raise ConfigurationError("there is no rule in it")
    return rules


def _of_file(path: str) -> tuple[Rule, ...]:
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: no TOML: {error}") from None
    unknown = sorted(document.keys() - {"fault", "seed"})
    if unknown:
        raise ConfigurationError(f"{path}: {unknown[0]}: unknown; there are fault and seed")
    tables = document.get("fault", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(f"{path}: fault: must be tables, each under [[fault]]")
    common = {"seed": document["seed"]} if "seed" in document else {}
    return _rules([common | table for table in tables])


def _of_text(text: str) -> tuple[Rule, ...]:
    parts = [part.strip() for part in text.split(";")]
    return _rules([_fields(number, part) for number, part in enumerate(filter(None, parts), 1)])


def _fields(number: int, part: str) -> Mapping[str, object]:
    head, *rest = (each.strip() for each in part.split(","))
    kind, at, place = head.partition("@")
    fields: dict[str, object] = {"kind": kind.strip()}
    if at:
        fields["place"] = place.strip()
    for each in rest:
        name, equals, value = (piece.strip() for piece in each.partition("="))
        if not equals or not name or name in fields:
            problem = f"{each or 'an empty field'}: must be NAME=VALUE, each name once"
            raise ConfigurationError(f"fault {number} ({head}): {problem}")
        fields[name] = _value(value)
    return fields


def _value(text: str) -> object:
    """A number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _rules(tables: Sequence[Mapping[str, object]]) -> tuple[Rule, ...]:
    """Raises ConfigurationError with every rule that is at fault."""
    rules, problems = [], []
    for number, fields in enumerate(tables, 1):
        try:
            rules.append(rule_of(fields))
        except BadField as error:
            called = f"{fields.get('kind', '')}@{fields.get('place', '')}"
            problems.append(f"fault {number} ({called}): {error}")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return tuple(rules)
