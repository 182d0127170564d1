"""A clock that a test sets."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """A `tools.kit.clock.Clock` that stands still until it is told otherwise."""

    def __init__(self, at: datetime | None = None) -> None:
        self._now = at or datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        """The moment it was set to."""
        return self._now

    def set(self, at: datetime) -> None:
        """Jump to a moment."""
        self._now = at

    def advance(self, **timedelta_fields: float) -> datetime:
        """Move on by a timedelta, such as `advance(minutes=5)`; the new moment."""
        self._now += timedelta(**timedelta_fields)
        return self._now
