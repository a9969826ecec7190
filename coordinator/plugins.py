"""What packages above this one add, found by their entry points.

So a deployment may leave such a package out, and nothing here knows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any


def plugins(group: str) -> Iterator[Any]:
    """What the entry points of `group` name, but for packages that are not there."""
    for point in entry_points(group=group):
        try:
            yield point.load()
        except ModuleNotFoundError as error:
            if error.name != point.module.partition(".")[0]:
                raise
