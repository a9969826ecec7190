"""Makes a failing run smaller while it still fails: what is left is easier to read.

Only what the command line can say is left out: payments, kinds of fault, crashes. So the smallest
run that was found has a command that replays it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fault_injection.simulation.plan import Asked, Plan, plan_of
from fault_injection.simulation.run import Run, play

TRIES = 80
"""How many runs are tried at most."""


def shortest(
    failing: Run,
    tell: Callable[[Run], None] = lambda _run: None,
    play: Callable[[Plan], Run] = play,
) -> Run:
    """The smallest failing run that was found. `tell` hears of each smaller one; `play` plays."""
    best, left = failing, TRIES
    found = True
    while found and left:
        found = False
        for asked in _smaller(best.plan.asked):
            if not left:
                break
            left -= 1
            run = play(plan_of(best.plan.seed, asked))
            if run.finding is not None:
                best, found = run, True
                tell(best)
                break
    return best


def _smaller(asked: Asked) -> Iterator[Asked]:
    """Ways to ask for less, those that leave most out first."""
    only, faults = asked.only or (), asked.faults or ()
    if len(only) > 3:  # noqa: PLR2004 - halves of fewer are not worth it
        half = len(only) // 2
        yield replace(asked, only=only[half:])
        yield replace(asked, only=only[:half])
    if asked.crashes:
        yield replace(asked, crashes=0)
        yield replace(asked, crashes=asked.crashes - 1)
    for kind in faults:
        yield replace(asked, faults=tuple(each for each in faults if each != kind))
    if len(only) > 1:
        for number in only:
            yield replace(asked, only=tuple(each for each in only if each != number))


def command(run: Run) -> str:
    """What replays the run."""
    asked = run.plan.asked
    words = [f"kessai simulate --seed {run.plan.seed} --payments {asked.payments}"]
    if asked.only is not None and len(asked.only) < asked.payments:
        words.append(f"--only {','.join(map(str, asked.only))}")
    words += [f"--flow {flow}" for flow in asked.flows or ()]
    words.append(f"--faults {','.join(asked.faults or ()) or 'none'}")
    words.append(f"--crashes {asked.crashes or 0}")
    return " ".join(words)
