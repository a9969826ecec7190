"""Where `kessai up` and `kessai demo` keep their files.

Under /tmp by default and never in a home folder: run as root, PostgreSQL's wheel opens every folder
above its data for others to read (chmod). What must stay secret is therefore protected file by
file, not by the folder.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.cli.failures import ExitCode, Failure

ROOT = Path("/tmp")  # noqa: S108 - see the module's head; `kept` refuses a folder that is not ours


def temporary() -> Path:
    """A new folder of our own. Whoever asked removes it."""
    return Path(tempfile.mkdtemp(prefix="kessai-", dir=ROOT))


def kept(folder: Path | None) -> Path:
    """The folder to keep data in between runs, made if need be. Raises Failure if it is not ours.

    In a shared /tmp somebody else could have put a folder or a link there first.
    """
    user = os.getuid()
    path = (folder or ROOT / f"kessai-{user}").absolute()
    try:
        path.mkdir(mode=0o700, parents=folder is not None, exist_ok=True)
        found = path.stat() if folder else path.lstat()
    except OSError as error:
        raise Failure(f"{path} cannot be used: {error.strerror}", ExitCode.USAGE) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user:
        raise Failure(
            f"{path} is not a folder of this user",
            ExitCode.USAGE,
            hint="name another with --data-dir, or use --fresh",
        )
    return path


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Only one process at a time works in the folder. Raises Failure when another one does."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure(
                f"another `kessai up` works in {folder}",
                hint="stop it, name another folder with --data-dir, or use --fresh",
            ) from None
        yield
