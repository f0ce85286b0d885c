"""Temporary folders and files that do not outlive their process for long, even one that was killed.

Each is locked (flock) by whoever uses it. The lock ends with the process, however that ends, and what is there without
one is removed by the next process on the machine that looks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from transforms.errors import MachineError

_PREFIX = "lakescribe-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new empty folder, gone afterwards. Raises MachineError if none can be made."""
    _sweep_once(os.getpid())
    folder, lock = _new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(lock)


def sweep(prefix: str, older_than_s: float = 0.0) -> None:
    """Removes what lies in the temporary folder under names that begin so, if it is this user's, nobody holds its lock
    and nothing was written to it for so long."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            status = path.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < older_than_s:
                continue
            lock = held(path)
            if lock is not None:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                os.close(lock)
        except OSError:  # what cannot be removed now is left to the next process: it is in nobody's way
            continue


def hold(descriptor: int) -> None:
    """Locks an open file against `sweep`, for as long as this process or one that inherits it has it open."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@cache
def _sweep_once(pid: int) -> None:
    """`pid`: a process that was forked looks for itself."""
    sweep(_PREFIX)


def _new_folder() -> tuple[Path, int]:
    """The folder and the descriptor that holds its lock."""
    try:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = held(folder)
            if lock is not None:  # else another process has just taken it for a dead one's
                return folder, lock
    except OSError as error:
        place = os.environ.get("TMPDIR", "the temporary folder")
        raise MachineError(f"no folder can be made in {place}: {error}; give it room, or set TMPDIR") from error


def held(path: Path) -> int | None:
    """A descriptor that holds the lock of `path`; None if another process has it, or has removed it."""
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        hold(descriptor)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    if descriptor is not None:
        os.close(descriptor)
    return None
