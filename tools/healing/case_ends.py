"""How an incident ends or is handed to a person, with one alert for each."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from tools.healing.incidents import Case
from tools.kit.clock import Clock

log = structlog.get_logger(__name__)


class CaseEnds:
    """Closes and escalates, and raises the alert."""

    def __init__(self, clock: Clock, alert: Callable[[str, Case, str], None]) -> None:
        self._clock = clock
        self.alert = alert

    def close(self, case: Case, at: datetime, resolution: str, after: dict[str, Any]) -> None:
        """End it; *after* is what its target looks like now."""
        case.close(at, resolution, after)
        log.info("incident.closed", incident=case.id, resolution=resolution)
        self.alert("CLOSED", case, resolution)

    def escalate(self, case: Case, text: str, *, again: bool) -> None:
        """Call a person, once per escalation; *again* lets the question be asked later."""
        at = self._clock.now()
        if case.state == "escalated":
            case.note_once(at, text)
            return
        case.move("escalated", at, "escalated", text, again=again)
        log.warning("incident.escalated", incident=case.id, reason=text)
        self.alert("NEEDS A PERSON", case, text)
