"""The dashboard and the alert rules use metrics that exist, and every alert has its runbook."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from coordinator.metrics.codes import ATTENTION_CODES, FAILURE_CODES, OTHER
from coordinator.metrics.instruments import Instruments
from coordinator.metrics.observer import MetricsObserver
from tests.support.plain_yaml import NotPlain, parse

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/kessai.rules.yml"
DASHBOARD = ROOT / "deploy/grafana/kessai.json"
RUNBOOK = (ROOT / "docs/operating.md").read_text()
METRIC = re.compile(r"\b((?:kessai|process|python)_\w+)(?:\{([^}]*)\})?")
OF_PROMETHEUS = {"instance", "job", "le"}
"""Labels that Prometheus adds, and the histograms'."""


def instruments() -> Instruments:
    made = Instruments("1.2.3")
    MetricsObserver(made, participants=["card"])
    return made


def names() -> dict[str, set[str]]:
    """Every name that can be asked for, with its labels."""
    made = instruments()
    labels = {
        metric._name: set(metric._labelnames)
        for value in vars(made).values()
        if (metric := getattr(value, "_metric", value)) is not made.registry
    }
    found: dict[str, set[str]] = {}
    for family in made.registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        for suffix in suffixes.get(family.type, [""]):
            found[family.name + suffix] = labels.get(family.name, set())
    return found


def alerts() -> list[dict[str, Any]]:
    (group,) = parse(RULES.read_text())["groups"]
    return list(group["rules"])


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return shown + [alert["expr"] for alert in alerts()]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_of_an_expression_exists(expression: str) -> None:
    known = names()
    used = METRIC.findall(expression)
    assert used, "an expression asks for a metric"
    labels = set(OF_PROMETHEUS)
    for name, selector in used:
        assert name in known, f"{name} does not exist"
        matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert matched <= known[name], f"{name} has no label {matched - known[name]}"
        labels |= known[name]
    grouped = {
        label.strip()
        for group in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in group.split(",")
    }
    assert grouped <= labels


def test_every_code_that_an_expression_names_is_one_of_ours() -> None:
    codes = {
        code
        for expression in expressions()
        for name, selector in METRIC.findall(expression)
        if not name.startswith("kessai_calls_served")
        for value in re.findall(r'code\s*(?:=~|!~|!=|=)\s*"([^"]*)"', selector)
        for code in value.split("|")
    }
    assert codes <= FAILURE_CODES | ATTENTION_CODES | {OTHER}


def test_every_metric_of_ours_is_looked_at() -> None:
    used = {name for expression in expressions() for name, _ in METRIC.findall(expression)}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in used}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in names() if "kessai_" in name}
    assert ours - shown == {
        "kessai_attention_raised_total",
        "kessai_live_oldest_seconds",
        "kessai_overdue_transactions",
        "kessai_waiting_oldest_seconds",
    }, "only these are for looking closer"


def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["description"]
            assert all(
                target["datasource"]["uid"] == "${datasource}" for target in panel["targets"]
            )


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_it_means_and_where_its_runbook_is(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
    assert alert["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/operating.md#{name.lower()}"
    section = sections().get(name)
    assert section, "the runbook has a section under the alert's name"
    assert section.startswith(f"**{alert['labels']['severity']}.**")
    for part in ("*Means*", "*Look*", "*Do*", "*Over when*"):
        assert part in section


def test_every_section_about_an_alert_has_one() -> None:
    assert {name for name in sections() if name.startswith("Kessai")} == {
        alert["alert"] for alert in alerts()
    }


def test_the_runbook_says_what_to_do_about_every_attention_code() -> None:
    _, _, attention = RUNBOOK.partition("\n## Attention\n")
    assert {code for code in ATTENTION_CODES if code not in attention} == set()


def test_the_runbook_links_to_sections_that_exist() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


def sections() -> dict[str, str]:
    """The text of every section of the third level, by its title."""
    parts = re.split(r"^### (.+)\n", RUNBOOK, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_plain_yaml_is_read_as_prometheus_reads_it() -> None:
    text = """
# a comment
groups:
  - name: a
    rules:
      - alert: One
        expr: up == 0
        labels:
          severity: page

      - alert: "Two: {{ $value }}"
        expr: |
          first
            / second
          third
"""
    assert parse(text) == {
        "groups": [
            {
                "name": "a",
                "rules": [
                    {"alert": "One", "expr": "up == 0", "labels": {"severity": "page"}},
                    {"alert": "Two: {{ $value }}", "expr": "first\n  / second\nthird\n"},
                ],
            }
        ]
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c", "a: {{ $value }}", "a: [1]", "a: 'b'", "a\n", "a: b\na: c", "a: x #y",
        "a:\n- b: c\n d: e", "\ta: b", "a: b\n  c: d", 'a: "b', "a: *b", "a: & b", "a: > b",
    ],
)  # fmt: skip
def test_whatever_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(NotPlain):
        parse(text)
