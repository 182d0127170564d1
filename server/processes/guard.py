"""Becomes another program, which gets a signal as soon as the process that started it dies.

    python -S -E -s guard.py KILL program argument ...

Run by path and without `site`, because it stands before every program: it costs about 15 ms. Each
guarded program finds its own pid in `ACADEMY_PARENT_PID`, so that a guard below it can tell that
its parent died before the signal was asked for. Exit code 75 says so; 71 that Linux refused.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
VARIABLE = "ACADEMY_PARENT_PID"


def main(arguments: list[str]) -> int:
    """Ask for the signal named first in *arguments*, then become the program named by the rest."""
    name, *program = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.Signals[f"SIG{name}"]), 0, 0, 0) != 0:
        print(f"guard: prctl: {os.strerror(ctypes.get_errno())}", file=sys.stderr)  # noqa: T201
        return 71
    parent = os.environ.get(VARIABLE)
    if parent is not None and int(parent) != os.getppid():
        print("guard: the process that started this one is gone", file=sys.stderr)  # noqa: T201
        return 75
    os.environ[VARIABLE] = str(os.getpid())
    try:
        os.execvp(program[0], program)  # noqa: S606 (no shell is the point)
    except OSError as error:
        print(f"guard: {program[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
