"""How a replica did lately: requests a second, share of errors, mean time to an answer."""

from collections import deque

LOOKS = 6
"""Looks back; with one every two seconds that is about ten seconds."""


class Rates:
    """Differences between running totals over the last few looks."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int, int, float]] = deque(maxlen=LOOKS)

    def look(self, now: float, counted: int, failed: int, seconds: float) -> dict[str, float]:
        """Figures since the oldest look kept, given the totals at *now* (seconds, any clock)."""
        self._looks.append((now, counted, failed, seconds))
        before, first_counted, first_failed, first_seconds = self._looks[0]
        answered = counted - first_counted
        passed = now - before
        return {
            "requests_per_second": round(answered / passed, 2) if passed > 0 else 0.0,
            "error_percent": round(100 * (failed - first_failed) / answered, 1)
            if answered
            else 0.0,
            "answer_ms": round(1000 * (seconds - first_seconds) / answered, 1) if answered else 0.0,
        }
