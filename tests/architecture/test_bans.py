"""Time, chance, identifiers and the environment come through their ports.

ruff bans the same names, but a `noqa` can silence ruff. Here the exceptions are a list: it says
where, what and why, and it fails when an entry is no longer needed.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    "coordinator",
    "phases",
    "adapters",
    "participants",
    "fault_injection",
    "proto/kessai/client",
)

BANNED = (
    "time",
    "random",
    "secrets",
    "uuid6",
    "uuid.uuid1",
    "uuid.uuid4",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "asyncio.sleep",
    "os.environ",
    "os.environb",
    "os.getenv",
    "os.urandom",
)

ALLOWED: dict[tuple[str, str], str] = {
    ("adapters/system.py", "asyncio.sleep"): "the Clock port itself",
    ("adapters/system.py", "datetime.datetime.now"): "the Clock port itself",
    ("adapters/system.py", "time"): "the Clock port itself",
    ("adapters/system.py", "random"): "the Randomness port itself",
    ("adapters/system.py", "uuid6"): "the Ids port itself",
    ("adapters/sealing.py", "os.urandom"): "nonces and keys come from the operating system",
    ("coordinator/cli/keys.py", "secrets"): "makes the first API key and seal key",
    ("coordinator/config.py", "os.environ"): "the one reader of the environment",
    ("fault_injection/chaos/havoc.py", "random"): "seeded: the faults of a chaos run",
    ("fault_injection/chaos/run.py", "random"): "seeded: the faults of a chaos run",
    ("fault_injection/chaos/shops.py", "random"): "seeded: what callers do in a chaos run",
    ("fault_injection/chaos/orders.py", "random"): "seeded: what callers buy in a chaos run",
    ("fault_injection/network/front.py", "random"): "seeded: which calls go wrong",
    ("fault_injection/network/link.py", "random"): "seeded: jitter and resets of a network",
    ("fault_injection/virtual_time.py", "asyncio.sleep"): "a Clock; its loop's time is virtual",
    ("fault_injection/virtual_time.py", "random"): "seeded: the order of what is ready",
    ("fault_injection/seeded.py", "random"): "seeded: all that a simulation calls chance",
    ("participants/world.py", "asyncio.sleep"): "participants stand alone: their own clock",
    ("participants/world.py", "datetime.datetime.now"): "participants stand alone: their own clock",
    ("participants/world.py", "time"): "participants stand alone: their own clock",
    ("participants/world.py", "uuid6"): "participants stand alone: their own identifiers",
    ("proto/kessai/client/machine.py", "asyncio.sleep"): "the client stands alone: its own clock",
    ("proto/kessai/client/machine.py", "random"): "the client stands alone: spreads retries out",
    ("proto/kessai/client/machine.py", "time"): "the client stands alone: its own clock",
    ("proto/kessai/client/machine.py", "uuid.uuid4"): "the client stands alone: fresh keys",
}


def uses(source: str) -> set[str]:
    """The banned names that a module imports or reaches, whatever it calls them."""
    tree = ast.parse(source)
    known: dict[str, str] = {}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                found |= _banned(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found |= _banned(f"{node.module}.{alias.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            found |= _banned(_dotted(node, known))
    return found


def _dotted(node: ast.expr, known: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, known)
        return f"{base}.{node.attr}" if base else ""
    return ""


def _banned(name: str) -> set[str]:
    return {ban for ban in BANNED if name == ban or name.startswith(f"{ban}.")}


def offences() -> set[tuple[str, str]]:
    """(file, banned name) for all of our code."""
    return {
        (str(path.relative_to(ROOT)), name)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for name in uses(path.read_text())
    }


def test_only_the_ports_themselves_ask_the_machine() -> None:
    assert sorted(offences() - ALLOWED.keys()) == []


def test_every_exception_is_still_needed() -> None:
    assert sorted(ALLOWED.keys() - offences()) == []


def test_the_ban_sees_through_other_names() -> None:
    hidden = {
        "import time": {"time"},
        "import time as t\nt.monotonic()": {"time"},
        "from time import monotonic as m": {"time"},
        "import random": {"random"},
        "from secrets import token_hex": {"secrets"},
        "import uuid\nuuid.uuid4()": {"uuid.uuid4"},
        "from uuid import uuid4 as make": {"uuid.uuid4"},
        "import datetime as d\nd.datetime.now()": {"datetime.datetime.now"},
        "from datetime import datetime as D\nD.utcnow()": {"datetime.datetime.utcnow"},
        "from datetime import date\nnow = date.today": {"datetime.date.today"},
        "import asyncio as a\nasync def f(): await a.sleep(1)": {"asyncio.sleep"},
        "import os\nx = os.environ['A']": {"os.environ"},
        "from os import getenv": {"os.getenv"},
        "def f():\n    import random as r": {"random"},
    }
    for source, names in hidden.items():
        assert uses(source) == names, source


def test_the_ban_leaves_the_harmless_alone() -> None:
    harmless = (
        "import uuid, os, asyncio\nfrom datetime import datetime\n"
        "uuid.uuid5(a, b); os.path.join(a); asyncio.run(f()); datetime(2026, 1, 1)\n"
        "class A:\n    def now(self): return self.clock.now()\n    time = 1\nA().time\n"
    )
    assert uses(harmless) == set()
