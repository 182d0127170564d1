"""File locks per target: two processes of one machine never drive actions on the same one."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.kit.errors import Conflict


@contextmanager
def held(folder: Path, target: str) -> Iterator[None]:
    """Hold *target* while the block runs; the system lets go when the process ends, however.

    Raises:
        Conflict: somebody else holds it.
        OSError: *folder* can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(_path(folder, target), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"Somebody is acting on {target} at this moment; ask again when they are done.",
                target=target,
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()} {target}\n".encode(), 0)
        yield
    finally:
        # The file stays: unlinking it would let a second process lock a new file of that name.
        os.close(file)


def is_held(folder: Path, target: str) -> bool:
    """Whether somebody on this machine holds *target* now."""
    try:
        with held(folder, target):
            return False
    except Conflict:
        return True


def _path(folder: Path, target: str) -> Path:
    """A name of fixed length, since a target may hold any character and be long."""
    return folder / f"{hashlib.sha256(target.encode()).hexdigest()[:32]}.lock"
