"""Programs beside a benchmark or an attack: they end with it, and only it tells them to.

Each is in a process group of its own, so that a Ctrl-C in the terminal reaches the program that
started it alone, which then stops them in order; and gets SIGKILL should that program die.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

GUARD = Path(__file__).parents[2] / "server" / "processes" / "guard.py"
STOP_SECONDS = 15.0
"""How long one may take to end in order before it is killed."""


def environment() -> dict[str, str]:
    """Our own environment without what it says about an academy."""
    return {k: v for k, v in os.environ.items() if not k.startswith("ACADEMY_")}


def guarded(*words: str) -> list[str]:
    """The command line *words* behind the guard: SIGKILL reaches it when its parent dies."""
    return [sys.executable, "-S", "-E", "-s", str(GUARD), "KILL", *words]


def python(*words: str) -> list[str]:
    """The command line of this Python with *words*, behind the guard."""
    return guarded(sys.executable, *words)


def start(
    words: Sequence[str], *, env: Mapping[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start `python` with *words*; what it prints goes to *output*."""
    return subprocess.Popen(
        python(*words),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        process_group=0,
    )


def stop(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
    """Ask *process* to end, and kill it where that takes too long; returns once it is gone."""
    process.send_signal(number)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
