"""Files that only grow, line by line: a line counts once it is whole and on disk."""

import os
from pathlib import Path


def append_line(path: Path, text: str) -> None:
    """Write *text* and its line end, readable by the owner alone, and wait until it is on disk.

    Raises:
        OSError: the disk refuses; a part of the line may stand, see `set_torn_aside`.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "ab") as file:
        file.write(text.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if fresh:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def set_torn_aside(path: Path, kept: Path) -> str:
    """Move a last line without its end to the end of *kept*; answers it, empty where there is none.

    A line is written and flushed whole before it counts, so a fragment never counted.

    Raises:
        OSError: a file can't be read or written; nothing is lost.
    """
    if not path.exists():
        return ""
    whole, _, fragment = path.read_bytes().rpartition(b"\n")
    if not fragment:
        return ""
    with kept.open("ab") as aside:
        aside.write(fragment + b"\n")
        aside.flush()
        os.fsync(aside.fileno())
    with path.open("r+b") as file:
        file.truncate(len(whole) + 1 if whole else 0)
        file.flush()
        os.fsync(file.fileno())
    return fragment.decode(errors="replace")
