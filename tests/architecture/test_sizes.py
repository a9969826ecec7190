"""A function fits on a screen, a module in one sitting, a line in 100 columns."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    "coordinator",
    "phases",
    "adapters",
    "participants",
    "fault_injection",
    "benchmarks",
    "examples",
    "proto/kessai/client",
)
"""Not what is generated (the rest of proto/) or a record of the past (migrations); a test module is
a list."""

MAX_FUNCTION, MAX_MODULE, MAX_COLUMNS, MAX_INIT = 70, 400, 100, 30


def modules() -> Iterator[Path]:
    """Every module of ours."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def too_big(name: str, source: str) -> list[str]:
    """What in a module is too big, a line for each."""
    lines = source.splitlines()
    problems = []
    limit = MAX_INIT if name.endswith("__init__.py") else MAX_MODULE
    if len(lines) > limit:
        problems.append(f"{name}: {len(lines)} lines; at most {limit}")
    problems += [
        f"{name}:{number}: {len(line)} columns; at most {MAX_COLUMNS}"
        for number, line in enumerate(lines, 1)
        if len(line) > MAX_COLUMNS
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                problems.append(
                    f"{name}:{node.lineno}: {node.name} has {length} lines; at most {MAX_FUNCTION}"
                )
    return problems


def test_nothing_is_too_big() -> None:
    problems = [
        problem
        for path in modules()
        for problem in too_big(str(path.relative_to(ROOT)), path.read_text())
    ]
    assert problems == []


def test_the_check_finds_what_is_too_big() -> None:
    body = "    pass\n"
    assert too_big("a.py", "x = 1\n" * MAX_MODULE) == []
    assert too_big("a.py", "x = 1\n" * (MAX_MODULE + 1)) == ["a.py: 401 lines; at most 400"]
    assert too_big("a.py", "x" * MAX_COLUMNS) == []
    assert too_big("a.py", "x" * (MAX_COLUMNS + 1)) == ["a.py:1: 101 columns; at most 100"]
    assert too_big("a.py", "def f():\n" + body * (MAX_FUNCTION - 1)) == []
    too_long = "class A:\n    async def f():\n" + f"    {body}" * MAX_FUNCTION
    assert too_big("a.py", too_long) == ["a.py:2: f has 71 lines; at most 70"]
    assert too_big("x/__init__.py", "x = 1\n" * 31) == ["x/__init__.py: 31 lines; at most 30"]


def test_the_folders_are_there_and_hold_modules() -> None:
    found = {path.relative_to(ROOT) for path in modules()}
    for folder in FOLDERS:
        assert any(path.is_relative_to(folder) for path in found), folder
