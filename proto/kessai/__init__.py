"""Kessai's contracts in Python, and its client: `kessai.Client`, `kessai.AsyncClient`.

The names below come from `kessai.client` when they are first used, so that whoever imports the
generated contracts alone (the coordinator does) does not load the client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kessai.client.names import *  # noqa: F403 - the one list of names stands there
else:  # so that a type checker finds a name that does not exist

    def __getattr__(name: str) -> Any:
        from kessai.client import names  # noqa: PLC0415 - lazily, see above

        if name in names.__all__:
            return getattr(names, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from kessai.client import names  # noqa: PLC0415 - lazily, see above

    return sorted({*globals(), *names.__all__})
