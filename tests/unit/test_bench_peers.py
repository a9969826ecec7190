"""The comparison's ratios and targets, from runs as they are recorded."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

from benchmarks.peers.results import KESSAI, TARGETS, YARDSTICK, Run, Target, ratios, verdicts

RESTATE_AT_64 = Target("Restate", 64, 3.0)


def run(system: str, in_flight: int, number: int, rate: float) -> Run:
    return Run(system, in_flight, number, rate, 10.0, 20.0, {"process": 1.0}, {})


def rounds(*rates: tuple[float, float]) -> list[Run]:
    """Kessai's rate and Restate's at 64 in flight, round by round."""
    return [
        each
        for number, (ours, theirs) in enumerate(rates, 1)
        for each in (run(KESSAI, 64, number, ours), run("Restate", 64, number, theirs))
    ]


def test_a_ratio_is_of_one_round() -> None:
    runs = rounds((900, 300), (400, 200), (1000, 250))

    assert ratios(runs, "Restate", 64) == (3.0, 2.0, 4.0)


def test_a_ratio_is_of_runs_with_as_many_in_flight() -> None:
    runs = [*rounds((900, 300)), run(KESSAI, 512, 1, 1600), run("Restate", 512, 1, 400)]

    assert ratios(runs, "Restate", 512) == (4.0,)


def test_a_round_without_the_peer_has_no_ratio() -> None:
    runs = [*rounds((900, 300)), run(KESSAI, 64, 2, 5000)]

    assert ratios(runs, "Restate", 64) == (3.0,)


def test_a_peer_that_paid_nothing_is_beaten_infinitely() -> None:
    assert ratios(rounds((900, 0)), "Restate", 64) == (math.inf,)


def test_a_target_is_met_by_the_median_of_the_ratios() -> None:
    (verdict,) = verdicts(rounds((100, 100), (300, 100), (900, 100)), [RESTATE_AT_64])

    assert verdict.met


def test_a_target_is_missed_when_only_the_best_round_reaches_it() -> None:
    (verdict,) = verdicts(rounds((100, 100), (299, 100), (900, 100)), [RESTATE_AT_64])

    assert not verdict.met


def test_a_peer_that_was_not_measured_has_no_verdict() -> None:
    runs = [*rounds((900, 300)), run(YARDSTICK, 32, 1, 3000)]

    assert [verdict.target for verdict in verdicts(runs)] == [RESTATE_AT_64]


def test_the_targets_are_those_of_the_documentation() -> None:
    assert {(target.peer, target.in_flight): target.times for target in TARGETS} == {
        ("Restate", 64): 3.0,
        ("Restate", 512): 4.0,
        ("DBOS", 64): 40.0,
        ("DBOS", 512): 40.0,
    }


def test_verdicts_are_the_same_from_runs_that_were_kept_as_json() -> None:
    runs = rounds((900, 300), (400, 200), (1000, 250))
    kept = [Run(**recorded) for recorded in json.loads(json.dumps([asdict(one) for one in runs]))]

    assert verdicts(kept) == verdicts(runs)
