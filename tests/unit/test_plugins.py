"""Packages that are found by their entry points, and may be missing."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from coordinator import plugins as module
from coordinator.plugins import plugins


def found(monkeypatch: pytest.MonkeyPatch, *values: str) -> list[object]:
    """What is loaded of entry points with these values."""
    points = [EntryPoint(value, value, "kessai.test") for value in values]
    monkeypatch.setattr(module, "entry_points", lambda group: points if group == "g" else [])
    return list(plugins("g"))


def test_what_an_entry_point_names_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "json:loads", "json") == [
        __import__("json").loads,
        __import__("json"),
    ]


def test_a_package_that_was_left_out_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "left_out_package.cli", "json") == [__import__("json")]


def test_a_package_that_is_there_and_broken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError):
        found(monkeypatch, "json.no_such_module")


def test_this_installation_can_inject_faults() -> None:
    assert len(list(plugins("kessai.faults"))) == 1
