"""One process as the kernel tells of it, so that a pid taken by another is told apart."""

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
STATE, PARENT, THREADS, STARTED = 0, 1, 17, 19
"""Places of the fields behind the program's name (proc_pid_stat(5) counts from 3)."""


@dataclass(frozen=True)
class ProcessStat:
    """What `/proc/PID/stat` says."""

    parent: int
    started: int
    """Clock ticks after boot."""
    ended: bool
    """Whether it is only waited for (a zombie): nothing of it runs any more."""


def read_stat(pid: int) -> ProcessStat | None:
    """What the kernel says of *pid* now; None where there is no such process, or it hides it."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name stands in brackets, and may hold brackets, spaces and any bytes itself.
    fields = text.rpartition(")")[2].split()
    return ProcessStat(
        parent=int(fields[PARENT]),
        started=int(fields[STARTED]),
        # A first thread that has ended while others still work is no dead process.
        ended=fields[STATE] in "ZX" and int(fields[THREADS]) <= 1,
    )
