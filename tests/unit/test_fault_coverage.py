"""Fault coverage: which cells there are, how they are counted, and when there are too few."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli.main import app
from coordinator.domain.flow import FlowRow
from coordinator.domain.phase import Phase, Role
from fault_injection.coverage.cells import cells_of
from fault_injection.coverage.floor import ALLOWANCES, FLOOR, below, floor_of
from fault_injection.coverage.ledger import BadLedger, Ledger
from fault_injection.coverage.tally import DIED, GIVEN_UP, Cell, Tally
from fault_injection.simulation.swarm import CALL_FAULTS, fault_name
from fault_injection.world import FLOWS
from phases.flows import bind_flows
from phases.registry import PHASES

ALL = cells_of(FLOWS)
TRIED = Cell("card_only", "card_charge", "try", "late", "unknown")


def full(count: int = FLOOR) -> Ledger:
    ledger = Ledger()
    ledger.add("everything", Counter(dict.fromkeys(ALL, count)))
    return ledger


def written(folder: Path, ledger: Ledger) -> str:
    ledger.write(folder / "ledger.json")
    return str(folder / "ledger.json")


def ask(*options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["faults", "coverage", *options])
    return result.exit_code, result.stdout, result.stderr


def test_every_step_of_every_flow_and_refund_has_cells_for_every_fault_of_calls() -> None:
    for flow in FLOWS.values():
        for label, phases in (
            (flow.name, flow.called),
            (f"{flow.name} refund", flow.refund.called),
        ):
            for phase in phases:
                tried = {cell.fault for cell in ALL if cell[:3] == (label, phase.name, "try")}
                assert tried == {"none", "outage", *CALL_FAULTS}


def test_only_the_pivot_can_be_refused_once_it_is_held() -> None:
    confirms = {cell[:2] for cell in ALL if cell[2:4] == ("confirm", "refused")}
    pivots = {(flow.name, flow.pivot.name) for flow in FLOWS.values() if flow.pivot}
    assert confirms == pivots


def test_a_flow_without_a_pivot_is_never_committed_as_capturing() -> None:
    operations = {cell.operation for cell in ALL if cell[:2] == ("points_only", "store")}
    assert "commit CAPTURING" not in operations
    assert {"commit RESERVED", "commit REFUNDED"} <= operations


@pytest.mark.parametrize(
    ("fault", "outcomes"),
    [
        ("commit-failed", {"committed", "unavailable"}),
        ("deadlock", {"committed"}),
        ("disk-full", {"unavailable"}),
    ],
)
def test_what_the_store_repeats_is_committed_in_the_end(fault: str, outcomes: set[str]) -> None:
    assert {cell.outcome for cell in ALL if cell.fault == fault} == outcomes


def test_a_new_flow_has_its_cells_at_once_and_they_are_below_the_floor() -> None:
    phases = {**PHASES, "gift": Phase("gift", "Gift", Role.TAKES, "gift")}
    row = FlowRow("gift_only", (("gift", "merchant_credit"),), "notify")
    flows = {**FLOWS, **bind_flows([row], phases)}
    new = [cell for cell in cells_of(flows) if cell.flow.startswith("gift_only")]
    assert Cell("gift_only refund", "gift", "confirm", "reply-lost", "unknown") in new
    assert {cell for cell, _, _ in below(cells_of(flows), full().total())} == set(new)


def test_what_is_tried_is_counted_with_its_faults_and_what_came_of_it() -> None:
    tally = Tally()
    plain = tally.begins("flow", "step", "try", unended=GIVEN_UP)
    twice = tally.begins("flow", "store", "commit PAID", unended=DIED)
    twice.meets("commit-failed")
    twice.meets("commit-failed")
    twice.meets("commit-unheard")
    twice.ends("committed")
    twice.ends("something else")
    plain.ends("applied")
    tally.begins("flow", "step", "confirm", unended=GIVEN_UP)
    tally.close()
    assert tally.cells == {
        ("flow", "step", "try", "none", "applied"): 1,
        ("flow", "store", "commit PAID", "commit-failed", "committed"): 1,
        ("flow", "store", "commit PAID", "commit-unheard", "committed"): 1,
        ("flow", "step", "confirm", "none", "given up"): 1,
    }


@pytest.mark.parametrize("name", CALL_FAULTS)
def test_a_fault_is_called_by_its_kind(name: str) -> None:
    assert fault_name(CALL_FAULTS[name][0]) == name


def test_ledgers_of_several_files_are_put_together_by_campaign(tmp_path: Path) -> None:
    for number, campaign in enumerate(["random", "random", "sweep singles"]):
        ledger = Ledger()
        ledger.add(campaign, {TRIED: 2})
        ledger.write(tmp_path / f"{number}.json")
    merged = Ledger.read([tmp_path])
    assert {name: cells[TRIED] for name, cells in merged.campaigns.items()} == {
        "random": 4,
        "sweep singles": 2,
    }
    assert merged.total()[TRIED] == 6


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"campaigns": []}', '{"campaigns": {"a": [["x", 1]]}}',
     '{"campaigns": {"a": [["a", "b", "c", "d", "e", -1]]}}'],
)  # fmt: skip
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadLedger, match=r"x\.json"):
        Ledger.read([tmp_path / "x.json"])
    code, out, err = ask("--from", str(tmp_path))
    assert (code, out) == (2, "")
    assert "--from" in err


def test_every_exception_says_why_and_is_about_a_cell_that_there_is() -> None:
    for each in ALLOWANCES:
        assert each.least < FLOOR
        assert len(each.reason) > 20
        assert any(each.covers(cell) for cell in ALL), each


def test_enough_of_every_cell_is_fine(tmp_path: Path) -> None:
    code, out, err = ask("--from", written(tmp_path, full()))
    assert code == 0
    assert "card_charge" in out
    assert f"{len(ALL)} cells" in err


def test_a_cell_below_the_floor_is_named_and_red(tmp_path: Path) -> None:
    ledger = full()
    ledger.campaigns["everything"][TRIED] = floor_of(TRIED) - 1
    code, _, err = ask("--from", written(tmp_path, ledger))
    assert code == 1
    assert f"card_only / card_charge / try / late / unknown: {floor_of(TRIED) - 1} of" in err
    assert ask("--from", str(tmp_path), "--floor", "1")[0] == 0


def test_without_ledgers_everything_is_at_0() -> None:
    code, out, _ = ask("--output", "jsonl")
    assert code == 1
    records = [json.loads(line) for line in out.splitlines()]
    assert [tuple(record.values())[:5] for record in records] == list(ALL)
    assert {record["count"] for record in records} == {0}
    assert ask("--floor", "0")[0] == 0


def test_json_says_which_campaign_saw_what(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.add("random", {TRIED: 3, TRIED._replace(outcome="given up"): 1})
    ledger.add("sweep singles", {TRIED: 4})
    _, out, _ = ask("--from", written(tmp_path, ledger), "-o", "json")
    records = {tuple(record.values())[:5]: record for record in json.loads(out)}
    assert records[TRIED]["count"] == 7
    assert records[TRIED]["campaigns"] == {"random": 3, "sweep singles": 4}
    assert records[TRIED._replace(outcome="given up")]["least"] == 0


class Reader(HTMLParser):
    """What a page loads and says."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.open: list[str] = []
        self.links: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag != "meta":
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "tags are closed in their order"


def test_the_page_stands_alone_and_has_every_cell(tmp_path: Path) -> None:
    page = tmp_path / "coverage.html"
    ledger = full()
    ledger.add("<b>campaign</b>", {TRIED: 1, TRIED._replace(outcome="given up"): 5})
    assert ask("--from", written(tmp_path, ledger), "--html", str(page))[0] == 0
    text = page.read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.links == []
    assert not {"script", "link", "img", "iframe", "b"} & reader.tags.keys()
    assert "url(" not in text
    assert sum(title.count("at least") for title in reader.titles) == len(ALL)
    assert "given up" in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--from", "/nonexistent/x.json"), "--from"),
        (("--floor", "-1"), "--floor"),
        (("--floor", "0", "--html", "/nonexistent/x.html"), "--html"),
    ],
)
def test_bad_input_is_refused(options: tuple[str, ...], problem: str) -> None:
    code, _, err = ask(*options)
    assert code == 2
    assert problem in err


def test_a_campaign_writes_what_it_has_seen(tmp_path: Path) -> None:
    runner = CliRunner()
    swept, drawn = tmp_path / "sweep.json", tmp_path / "random.json"
    case = "card_only/pay/card_charge.try@1:late"
    commands = (
        ["faults", "sweep", "--case", case, "--coverage", str(swept)],
        ["simulate", "--seed", "1", "--payments", "2", "--coverage", str(drawn)],
    )
    for command in commands:
        assert runner.invoke(app, command).exit_code == 0
    merged = Ledger.read([swept, drawn])
    assert merged.campaigns.keys() == {"sweep case", "random"}
    assert merged.campaigns["sweep case"][TRIED] == 1
    assert merged.campaigns["random"].total() > 10


def test_a_file_that_cannot_be_written_is_said_before_anything_starts() -> None:
    result = CliRunner().invoke(
        app, ["simulate", "--seed", "1", "--coverage", "/nonexistent/ledger.json"]
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--coverage" in result.stderr


def test_what_is_shown_in_a_terminal_is_the_rarest_outcome(tmp_path: Path) -> None:
    ledger = full(500)
    rare = Cell("card_only", "store", "commit PAID", "commit-failed", "unavailable")
    ledger.campaigns["everything"][rare] = 123
    _, out, _ = ask("--from", written(tmp_path, ledger))
    [row] = [
        line
        for line in out.splitlines()
        if " ".join(line.split()).startswith("card_only store commit PAID")
    ]
    assert "123" in row.split()
