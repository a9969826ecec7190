"""Every planted bug there is."""

from __future__ import annotations

from tests.planted import deciding, participating, settled, storing
from tests.planted.bug import Bug

BUGS: tuple[Bug, ...] = tuple(
    each
    for module in (deciding, storing, participating, settled)
    for each in vars(module).values()
    if isinstance(each, Bug)
)
BY_NAME = {bug.name: bug for bug in BUGS}
