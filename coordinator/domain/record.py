"""What every per-payment value of ours is: a frozen record, made and copied in C.

A payment makes about two hundred of them. As frozen dataclasses, their `__init__` and
`dataclasses.replace` were a quarter of the coordinator's CPU time (docs/decisions/0006).
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace as evolve

__all__ = ["Record", "evolve"]


class Record(Struct, frozen=True, gc=False):
    """Base of immutable values that hold immutable values.

    They can be part of no reference cycle, so that the garbage collector need not look at them.
    `HIDDEN` names the fields that may hold a secret: no `repr`, log or traceback shows them.

    `evolve(record, field=value)` is a copy with these fields changed; it raises TypeError for an
    unknown field.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The fields that may be shown, with their values."""
        return [(f, getattr(self, f)) for f in self.__struct_fields__ if f not in self.HIDDEN]

    def __repr__(self) -> str:
        """Like a dataclass's, without the hidden fields."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"
