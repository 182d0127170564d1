"""A folder of this run's own in memory, and an end to those of runs that were killed.

A folder's name says its run's process id, and the run holds a lock on it: an id alone says nothing
of a run in a container that shares the memory and numbers its processes itself.
"""

import fcntl
import os
import re
import shutil
from pathlib import Path

NAMED = re.compile(r"t-([1-9][0-9]{0,6})")
"""Short, for paths of sockets. Linux numbers processes up to 4 194 304."""


def make(memory: Path) -> Path | None:
    """This run's folder, held until the process ends; None where its name is taken."""
    folder = memory / f"t-{os.getpid()}"
    try:
        folder.mkdir()
    except FileExistsError:
        return None
    _hold(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    folder.chmod(0o711)  # a server's own user must pass through
    return folder


def remove_left_behind(memory: Path) -> None:
    """Remove what runs of this user left behind that are no more; nothing else is touched."""
    for folder in memory.glob("t-*"):
        if (named := NAMED.fullmatch(folder.name)) is None or _runs(int(named[1])):
            continue
        try:
            file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # no folder, another user's, or just removed by another run
            continue
        try:
            if os.fstat(file).st_uid == os.geteuid() and _hold(file):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(file)


def _runs(process_id: int) -> bool:
    """Whether another process has this id, whoever's it is."""
    if process_id == os.getpid():
        return False  # left by an earlier process of the same id
    try:
        os.kill(process_id, 0)
    except OSError as error:  # one of another user's can't be signalled
        return not isinstance(error, ProcessLookupError)
    return True


def _hold(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
