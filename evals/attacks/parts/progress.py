"""How far an attack is, in a line on standard error now and then."""

import sys
import time

from evals.telling import duration

EVERY = 5.0
"""Seconds between two lines."""


class Progress:
    """Counts what is done of *total*, such as conversations; tells it beside *label*."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._bad = 0
        self._began = self._told = time.monotonic()
        _say(f"{label}: {total} to do")

    def step(self, *, bad: bool = False) -> None:
        """One more is done; *bad* ones are counted beside."""
        self._done += 1
        self._bad += bad
        now = time.monotonic()
        if now - self._told < EVERY and self._done < self._total:
            return
        self._told = now
        passed = now - self._began
        left = duration(passed / self._done * (self._total - self._done))
        rest = f"{left} left" if self._done < self._total else f"in {duration(passed)}"
        bad_ones = f", {self._bad} with findings" if self._bad else ""
        _say(f"{self._label}: {self._done} of {self._total}, {rest}{bad_ones}")


def _say(line: str) -> None:
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()
