"""The fault coverage as one HTML page: it loads nothing from elsewhere, and needs no script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fault_injection.coverage.report import Counted, Report, Row, Section

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #d0d7de; --dim: #59636e;
  --none: #ffd7d5; --low: #ffe9b8; --ok: #dafbe1; --many: #aceebb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --line: #3d444d;
  --dim: #9198a1; --none: #67201f; --low: #5c4708; --ok: #12361f; --many: #1f5c33; } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem auto; max-width: 100rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p, caption { max-width: 60rem; } caption { text-align: left; color: var(--dim); padding: .3rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--line); padding: .2rem .5rem; white-space: nowrap; }
thead th { position: sticky; top: 0; background: var(--paper); }
th { text-align: left; font-weight: 600; } td { text-align: right; }
td.none { background: var(--none); font-weight: 700; } td.low { background: var(--low); }
td.ok { background: var(--ok); } td.many { background: var(--many); }
td.never { color: var(--dim); } tr.flow th { border-top: 2px solid var(--dim); }
tfoot td, tfoot th, td.sum { font-weight: 600; }
.verdict { padding: .5rem .8rem; border: 1px solid var(--line); display: inline-block; }
.verdict.bad { background: var(--none); } .verdict.good { background: var(--ok); }
"""
_ABOUT = (
    "A number says how often an operation met a fault. Where several outcomes have to be seen, it "
    "is that of the rarest; hold the pointer over it for all of them. A dash: this fault cannot be "
    "there."
)
MANY = 10
"""Cells that were seen so many times as often as they have to be are shown stronger."""


def page(report: Report) -> str:
    """The whole page."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Fault coverage</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style></head><body>",
            "<h1>Fault coverage</h1>",
            _verdict(report),
            f"<p>{_ABOUT}</p>",
            _legend(report),
            "<h2>Campaigns</h2>",
            *_campaigns(report),
            *(line for section in report.sections() for line in _table(section)),
            "<h2>Seen as well</h2>",
            "<p>Outcomes that are possible and need not be seen.</p>",
            *_others(report),
            "</body></html>",
            "",
        ]
    )


def _verdict(report: Report) -> str:
    low = len(report.low)
    what = f"{low} of {len(report.counted)} cells were seen too seldom" if low else ""
    good = f"every one of {len(report.counted)} cells was seen often enough"
    kind = "bad" if low else "good"
    return f'<p class="verdict {kind}">{escape(what or good)}</p>'


def _legend(report: Report) -> str:
    shown = (
        ("none", "never seen"),
        ("low", "seen too seldom"),
        ("ok", "seen often enough"),
        ("many", f"{MANY} times as often as it has to be"),
    )
    cells = "".join(f'<td class="{kind}">{escape(what)}</td>' for kind, what in shown)
    least = f"Unless an exception is declared a cell has to be seen {report.floor} times."
    return f"<table><caption>{least}</caption><tbody><tr>{cells}</tr></tbody></table>"


def _campaigns(report: Report) -> Iterator[str]:
    yield "<table><thead><tr><th>campaign</th><th>seen</th><th>cells</th></tr></thead><tbody>"
    known = {each.cell for each in report.counted}
    for name, cells in sorted(report.ledger.campaigns.items()):
        met = sum(1 for cell, count in cells.items() if count and cell in known)
        seen = sum(cells.values())
        yield f"<tr><th>{escape(name)}</th><td>{seen:,}</td><td>{met:,}</td></tr>"
    yield "</tbody></table>"


def _table(section: Section) -> Iterator[str]:
    yield f'<h2>{escape(section.title)}</h2><div class="scroll"><table><thead><tr>'
    heads = ("flow", "step", "operation", *section.faults, "all")
    yield "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr></thead><tbody>"
    before = ""
    for row in section.rows:
        new = ' class="flow"' if row.flow != before else ""
        names = "".join(f"<th>{escape(name)}</th>" for name in (row.flow, row.step, row.operation))
        before = row.flow
        shown = "".join(_cell(row, fault) for fault in section.faults)
        yield f'<tr{new}>{names}{shown}<td class="sum">{row.total:,}</td></tr>'
    sums = "".join(f"<td>{section.total(fault):,}</td>" for fault in section.faults)
    everything = sum(row.total for row in section.rows)
    yield f'</tbody><tfoot><tr><th colspan="3">all</th>{sums}<td>{everything:,}</td></tr></tfoot>'
    yield "</table></div>"


def _cell(row: Row, fault: str) -> str:
    cells = row.faults.get(fault)
    if not cells:
        return '<td class="never">–</td>'
    rarest = min(cells, key=lambda each: each.count)
    told = "; ".join(f"{e.cell.outcome}: {e.count:,} (at least {e.least:,})" for e in cells)
    return f'<td class="{_kind(cells)}" title="{escape(told)}">{rarest.count:,}</td>'


def _kind(cells: list[Counted]) -> str:
    if any(each.count == 0 and each.is_low for each in cells):
        return "none"
    if any(each.is_low for each in cells):
        return "low"
    return "many" if all(each.count >= MANY * max(each.least, 1) for each in cells) else "ok"


def _others(report: Report) -> Iterator[str]:
    yield "<table><thead><tr>"
    heads = ("flow", "step", "operation", "fault", "outcome", "seen")
    yield "".join(f"<th>{head}</th>" for head in heads) + "</tr></thead><tbody>"
    for cell, count in sorted(report.others.items()):
        names = "".join(f"<th>{escape(name)}</th>" for name in cell)
        yield f"<tr>{names}<td>{count:,}</td></tr>"
    yield "</tbody></table>"
