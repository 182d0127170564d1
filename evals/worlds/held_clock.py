"""A clock that stands still until somebody moves it."""

from datetime import UTC, datetime, timedelta


class HeldClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        """The moment it was set to."""
        return self.at

    def move(self, by: timedelta) -> None:
        """Go forward, or back."""
        self.at += by
