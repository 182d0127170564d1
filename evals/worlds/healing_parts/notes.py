"""What is noted while one world is played."""

from datetime import UTC, datetime

from evals.suites.base import Step
from evals.worlds.healing_parts.drawing import Drawn, DrawnFault


class Notes:
    """What is noted while one world is played."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self.began = datetime.now(UTC)
        self.steps: list[Step] = []
        self.broken_at: dict[str, datetime] = {}
        """Moment of each fault, by target."""
        self.whole_since: datetime | None = None
        self.ill: list[str] = []
        self.seconds = 0.0

    def add(self, kind: str, text: str) -> None:
        """One more thing that happened just now."""
        self.steps.append(Step(at=self._now(), kind=kind, text=text))

    def broke(self, fault: DrawnFault) -> None:
        """*fault* is there from now on."""
        self.broken_at[fault.target] = datetime.now(UTC)

    def ended(self, whole_since: datetime | None, ill: list[str]) -> None:
        """Looking on is over."""
        self.whole_since, self.ill, self.seconds = whole_since, ill, self._now()

    def _now(self) -> float:
        return max(0.0, (datetime.now(UTC) - self.began).total_seconds())
