"""What `kessai bench` makes of figures: targets, comparisons, the report."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from benchmarks.bench import quantiles
from benchmarks.page import page
from benchmarks.results import QUANTILES, VERSION, Machine, Memory, Results, Run, write
from benchmarks.scenario import MANY, ONE, SCENARIOS, TWO
from benchmarks.targets import judged
from coordinator.cli.main import app

MACHINE = Machine(cpu="a <core>", cores=2, system="Linux", python="3", postgres="18", load=0.5)


def ran(name: str, number: int, rate: float, **more: Any) -> Run:
    figures: dict[str, Any] = {
        "seconds": 6.0,
        "answers": {"PAID": int(rate * 6)},
        "latency_ms": [float(at) for at in QUANTILES],
        "cpu_ms": {"coordinator": 0.5, "database": 0.3, "participants": 0.0, "load": 0.1},
        "commits": 0.05,
        "wal_bytes": 2048.0,
    }
    return Run(scenario=name, round=number, rate=rate, **(figures | more))


def results(
    *runs: Run, yardstick: tuple[float, ...] = (1000.0, 500.0), memory: tuple[Memory, ...] = ()
) -> Results:
    names = dict.fromkeys(run.scenario for run in runs)
    return Results(
        version=VERSION,
        build="abc",
        began="2026-11-25 08:00",
        machine=MACHINE,
        yardstick=[*yardstick],
        titles={name: f"<{name}>" for name in names},
        runs=[*runs],
        memory=[*memory],
    )


def verdicts(found: Results) -> dict[str, tuple[str, str]]:
    return {each.target.title: (each.found, each.word) for each in judged(found)}


def test_a_rate_is_a_multiple_of_the_yardstick_of_its_own_round() -> None:
    found = verdicts(results(ran("many", 1, 550.0), ran("many", 0, 1000.0)))
    assert found["512 in flight, against pgbench"] == ("1.05 (1.00–1.10) ×", "met")


def test_a_median_on_the_wrong_side_is_a_target_missed() -> None:
    found = verdicts(results(ran("many", 0, 900.0), ran("many", 1, 400.0)))
    assert found["512 in flight, against pgbench"][1] == "missed"


def test_a_cost_is_met_from_below() -> None:
    found = verdicts(results(ran("many", 0, 900.0)))
    assert found["512 in flight, CPU of the coordinator a payment"] == ("0.50 ms", "met")
    assert found["512 in flight, CPU of the database a payment"] == ("0.30 ms", "missed")


def test_what_was_not_run_is_not_measured() -> None:
    found = verdicts(results(ran("many", 0, 900.0)))
    assert found["one in flight, median"] == ("–", "not measured")
    assert found["two coordinators against one"] == ("–", "not measured")


def test_two_scenarios_are_compared_round_by_round() -> None:
    runs = (ran(TWO.name, 0, 300.0), ran(MANY.name, 0, 100.0), ran(MANY.name, 1, 50.0))
    assert verdicts(results(*runs))["two coordinators against one"] == ("3.00 ×", "met")


def test_memory_of_too_few_payments_says_nothing_of_thousands() -> None:
    few = Memory(in_flight=500, bytes_each=10_240.0, threads=6)
    many = Memory(in_flight=4_998, bytes_each=30_720.0, threads=6)
    run = ran("many", 0, 1.0)
    title = "thousands in flight, memory of each"
    assert verdicts(results(run, memory=(few,)))[title] == ("–", "not measured")
    assert verdicts(results(run, memory=(many,)))[title] == ("30.0 KB", "missed")


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantiles([1.0, 2.0, 3.0, 4.0], 0, 50, 99, 100) == [1.0, 3.0, 4.0, 4.0]
    assert quantiles([], 50, 99) == [0.0, 0.0]


def test_no_two_scenarios_share_a_name_or_a_title() -> None:
    assert len({each.name for each in SCENARIOS}) == len(SCENARIOS)
    assert len({each.title for each in SCENARIOS}) == len(SCENARIOS)


def test_the_page_shows_every_scenario_and_loads_nothing() -> None:
    shown = page(results(ran(ONE.name, 0, 10.0), ran(MANY.name, 0, 0.0, answers={"FAILED": 3})))
    assert "&lt;one&gt;" in shown
    assert "<one>" not in shown
    assert "3 FAILED" in shown
    assert not re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?(?:https?:)?//', shown)


def compare(folder: Path, before: Results, after: Results) -> dict[str, Any]:
    for name, found in (("before", before), ("after", after)):
        write(found, folder / name)
    asked = ["bench", "compare", str(folder / "before"), str(folder / "after"), "--output", "jsonl"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.stderr
    record: dict[str, Any] = msgspec.json.decode(done.stdout)
    return record


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ((200.0, 100.0), "faster"),
        ((90.0, 45.0), "slower"),
        ((103.0, 51.5), "no difference shown"),  # too little
        ((300.0, 45.0), "no difference shown"),  # one round is slower
    ],
)
def test_builds_differ_only_where_no_round_of_one_reaches_into_the_other(
    tmp_path: Path, rates: tuple[float, float], verdict: str
) -> None:
    before = results(ran("many", 0, 100.0), ran("many", 1, 50.0))
    after = results(ran("many", 0, rates[0]), ran("many", 1, rates[1]))
    assert compare(tmp_path, before, after)["verdict"] == verdict


def test_a_machine_that_is_twice_as_fast_makes_no_build_faster(tmp_path: Path) -> None:
    before = results(ran("many", 0, 100.0), yardstick=(1000.0,))
    after = results(ran("many", 0, 200.0), yardstick=(2000.0,))
    assert compare(tmp_path, before, after)["ratio"] == 1.0


def test_results_without_a_common_scenario_are_an_error(tmp_path: Path) -> None:
    write(results(ran("many", 0, 1.0)), tmp_path / "a")
    write(results(ran("one", 0, 1.0)), tmp_path / "b")
    done = CliRunner().invoke(app, ["bench", "compare", str(tmp_path / "a"), str(tmp_path / "b")])
    assert done.exit_code == 6
    assert "no scenario is both in" in done.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file"),
        (b"{", "is not what `kessai bench run` writes"),
        (b'{"version": 1}', "missing required field"),
        (
            msgspec.json.encode(msgspec.structs.replace(results(ran("one", 0, 1.0)), version=2)),
            "has version 2; this Kessai reads 1",
        ),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "results.json"
    if content is not None:
        file.write_bytes(content)
    done = CliRunner().invoke(app, ["bench", "report", str(file)])
    assert done.exit_code == 2
    assert why in done.stderr


@pytest.mark.parametrize(
    ("options", "exit_code", "why"),
    [
        (["--scenario", "fast"], 2, "there is no fast; there are one, few, many"),
        (["--rounds", "0"], 2, "--rounds"),
        (["--json", "/nowhere/at/all.json"], 1, "there is no folder /nowhere/at"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    options: list[str], exit_code: int, why: str
) -> None:
    done = CliRunner().invoke(app, ["bench", "run", *options])
    assert done.exit_code == exit_code
    assert why in " ".join(done.stderr.replace("│", " ").split())


def test_without_what_draws_the_report_an_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("benchmarks.page", "benchmarks.cli.benching"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("benchmarks.cli.benching", raising=False)
    monkeypatch.setitem(sys.modules, "pygal", None)
    done = CliRunner().invoke(app, ["bench", "report", str(tmp_path / "any.json")])
    assert done.exit_code == 1
    assert "pip install 'kessai[bench,embedded]'" in done.stderr
