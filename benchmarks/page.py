"""The results as one HTML page with plots: it loads nothing from elsewhere."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

import pygal
from pygal.style import Style

from benchmarks.results import QUANTILES, Results, Run, middle
from benchmarks.targets import judged

# It looks for maps of its own behind every import there is, by a way that Python 3.12 gave up.
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__module__ != "pygal"]

_CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff;
  margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
p { max-width: 60rem; } .dim { color: #59636e; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #d0d7de; padding: .3rem .7rem; text-align: right; }
th, td { white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
td:last-child { white-space: normal; }
.met { color: #1a7f37; font-weight: 600; } .missed { color: #b42318; font-weight: 600; }
.not { color: #59636e; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; }
figcaption { color: #59636e; }
"""
_STYLE = Style(
    background="white",
    plot_background="white",
    foreground="#1b1f24",
    foreground_strong="#1b1f24",
    foreground_subtle="#d0d7de",
    opacity=".9",
    colors=("#2f6feb", "#d9822b", "#1a7f37", "#8250df", "#b42318", "#59636e", "#0a7ea4", "#bf3989"),
    font_family="system-ui, sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=13,
    value_font_size=12,
    title_font_size=16,
)
_SHAPE = {"style": _STYLE, "js": [], "show_legend": True, "width": 1000}


def page(results: Results) -> str:
    """The whole page."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Kessai: benchmark</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_CSS}</style></head><body>",
            "<h1>Kessai: benchmark</h1>",
            *_about(results),
            "<h2>Targets</h2>",
            *_table(("target", "wanted", "found", ""), _target_rows(results)),
            "<h2>Scenarios</h2>",
            *_table(_COLUMNS, _scenario_rows(results)),
            "<h2>Plots</h2>",
            _figure(_rates(results), "Medians of the rounds."),
            _figure(_cpu(results), "Who computed: CPU time of each process for one transaction."),
            _figure(_latencies(results), "How many per cent of the answers came within this time."),
            "</body></html>",
            "",
        ]
    )


_COLUMNS = (
    "scenario",
    "transactions/s",
    "× pgbench",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "CPU ms: coordinator",
    "database",
    "participants",
    "load",
    "commits",
    "log KB",
    "other answers",
)


def _scenario_texts(results: Results) -> Iterator[list[str]]:
    """A row for each scenario, as texts: as _COLUMNS."""
    for name, title in results.titles.items():
        runs = results.of(name)
        yield [
            title,
            middle([run.rate for run in runs], 0),
            middle(results.against_yardstick(name), 2),
            *(middle([run.latency(at) for run in runs], 1) for at in (50, 99, 99.9)),
            *(
                middle([run.cpu_ms[process] for run in runs], 2)
                for process in ("coordinator", "database", "participants", "load")
            ),
            middle([run.commits for run in runs], 3),
            middle([run.wal_bytes / 1024 for run in runs], 1),
            others(runs),
        ]


def others(runs: Iterable[Run]) -> str:
    """How many were answered otherwise than with what was asked for, in all rounds."""
    found: Counter[str] = Counter()
    for run in runs:
        found.update(run.answers)
    counts = [
        f"{count:,} {answer}"
        for answer, count in found.items()
        if answer not in {"PAID", "SUCCEEDED"}
    ]
    return ", ".join(counts) or "none"


def _about(results: Results) -> Iterator[str]:
    machine = results.machine
    rounds = len(results.yardstick)
    yield (
        f"<p>Build {escape(results.build or 'unknown')}, {escape(results.began)} UTC, on "
        f"{machine.cores} cores of {escape(machine.cpu)} ({escape(machine.system)}, Python "
        f"{escape(machine.python)}, PostgreSQL {escape(machine.postgres)}), which callers, "
        f"coordinators, participants and the database share; load {machine.load:g} when it "
        f"began.</p><p>Rounds: {rounds}. In each, every scenario ran once, after "
        f"pgbench: three commits of hand-written SQL a payment, 32 clients, "
        f"{middle(results.yardstick, 0)} payments/s. "
        f'Figures are medians, with the least and the greatest in brackets.</p><p class="dim">'
        f"fsync and synchronous_commit are on. On shared cores absolute figures drift; what can "
        f"be compared is the ratio to pgbench in the same round.</p>"
    )
    for each in results.memory:
        yield (
            f"<p>With {each.in_flight:,} payments under way at slow participants, each takes "
            f"{each.bytes_each / 1024:.1f} KB; the process has {each.threads} threads.</p>"
        )


def _target_rows(results: Results) -> Iterator[list[str]]:
    for verdict in judged(results):
        kind = verdict.word.partition(" ")[0]
        yield [
            escape(verdict.target.title),
            escape(verdict.target.wanted),
            escape(verdict.found),
            f'<span class="{kind}">{verdict.word}</span>',
        ]


def _scenario_rows(results: Results) -> Iterator[list[str]]:
    for row in _scenario_texts(results):
        yield [escape(text) for text in row]


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield '<div class="scroll"><table><thead><tr>'
    yield from (f"<th>{escape(name)}</th>" for name in columns)
    yield "</tr></thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div>"


def _figure(chart: Any, caption: str) -> str:
    drawn = chart.render(is_unicode=True, disable_xml_declaration=True)
    return f"<figure>{drawn}<figcaption>{escape(caption)}</figcaption></figure>"


def _bars(results: Results, title: str, kind: type[Any], *, print_values: bool) -> Any:
    chart = kind(
        **_SHAPE,
        title=title,
        height=120 + 42 * len(results.titles),
        truncate_label=-1,
        print_values=print_values,
        legend_at_bottom=True,
    )
    chart.x_labels = [*reversed(results.titles.values())]  # the first one at the top
    return chart


def _rates(results: Results) -> Any:
    chart = _bars(results, "Transactions a second", pygal.HorizontalBar, print_values=True)
    chart.value_formatter = lambda value: f"{value:,.0f}"
    names = [*reversed(results.titles)]
    chart.add("Kessai", [statistics.median(run.rate for run in results.of(name)) for name in names])
    return chart


def _cpu(results: Results) -> Any:
    chart = _bars(results, "CPU ms a transaction", pygal.HorizontalStackedBar, print_values=False)
    chart.value_formatter = lambda value: f"{value:.2f}"
    for process in ("coordinator", "database", "participants", "load"):
        chart.add(
            process,
            [
                statistics.median(run.cpu_ms[process] for run in results.of(name))
                for name in reversed(results.titles)
            ],
        )
    return chart


def _latencies(results: Results) -> Any:
    shown = [at for at in QUANTILES if at]
    chart = pygal.Line(
        **_SHAPE,
        title="Latency, ms",
        height=640,
        logarithmic=True,
        show_dots=False,
        truncate_legend=-1,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        x_title="per cent of answers",
    )
    chart.x_labels = [f"{at:g}" for at in shown]
    for name, title in results.titles.items():
        runs = results.of(name)
        # A logarithm has no zero: a scenario in which nothing was answered has no line.
        found = [statistics.median(run.latency(at) for run in runs) or None for at in shown]
        chart.add(title, found)
    return chart
