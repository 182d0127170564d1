"""Incidents and replicas in words that only our own code chose.

Stored prose may quote what somebody outside wrote: a supervisor's message, a driver's error, the
name of a file. So what is told of an incident here is made anew from its kind, its target and its
figures, and a replica's note is told only where it has a form that we write ourselves.
"""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from tools.healing.schemas import FaultKind, IncidentState, IncidentView
from tools.kit.operation import Value

_SIGNAL = r"its process is stopped by a signal \(state T\)"
_ENDED = (
    r"not started|stopped at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, (?:exit status \d+|by a signal)"
)
_PROBES = r"(?:to \d+ probes|to the last (?:\d+ probes|probe)|since the healer began to look)"
_ERROR = r"\((?:timeout|refused|reset|broken answer|no answer)\)"
_FORMS = (
    r"answers,? in \d+ ms",
    r"answers \d+(?: while it starts)?",
    r"it is starting",
    r"started \d+ s ago and does not answer yet",
    r"the supervisor gave up on it",
    r"it ends soon after each start",
    r"it does not run",
    r"its process runs; it has no HTTP door to ask",
    r"the healer has not seen it yet",
    rf"no answer {_PROBES} {_ERROR}(?:; {_SIGNAL})?",
    _SIGNAL,
    _ENDED,
)
"""What `replica_faults` and the supervisor's adapter write of a replica by themselves."""
_NOTE = re.compile(
    rf"(?P<note>{'|'.join(_FORMS)})(?:; (?P<root>\S+) has a fault and explains it)?", re.ASCII
)


class Headline(Value):
    """One incident in short: names, figures, times, and words made from them."""

    id: str
    service: str
    replica: str | None
    target: str
    kind: FaultKind
    state: IncidentState
    title: str
    cause: str
    """Empty where its figures don't tell; what was written of it may."""
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    action_ids: list[str]


def headline(incident: IncidentView) -> Headline:
    """What can be told of *incident* without repeating anything that was written of it."""
    return Headline(
        id=incident.id,
        service=incident.service,
        replica=incident.replica,
        target=incident.target,
        kind=incident.kind,
        state=incident.state,
        title=_title(incident),
        cause=_cause(incident.kind, incident.before),
        opened_at=incident.opened_at,
        updated_at=incident.updated_at,
        closed_at=incident.closed_at,
        action_ids=incident.action_ids,
    )


def plain_note(note: str, services: Collection[str]) -> str:
    """A replica's *note* where its form is ours and it names none but *services*; else nothing."""
    found = _NOTE.fullmatch(note)
    if found is None:
        return ""
    root = found["root"]
    return note if root is None or re.split("[/:]", root)[0] in services else found["note"]


def _title(incident: IncidentView) -> str:
    name = incident.replica or incident.service
    return {
        "dead": f"{name} is dead",
        "hung": f"{name} hangs",
        "crashed": f"{name} ended and was started again",
        "disk_filling": f"The disk of {incident.service} is filling",
        "store_down": "The database is down",
        "autonomy_withdrawn": f"Autonomy of {incident.target} withdrawn",
    }[incident.kind]


def _cause(kind: FaultKind, before: Mapping[str, Any]) -> str:
    """From the figures at its beginning; only their numbers and closed words are looked at."""
    match kind, before:
        case "hung", {"frozen": True}:
            return "Its process is stopped by a signal (state T)."
        case "hung", {"frozen": False}:
            return "Its process runs and does not answer; why is unknown."
        case "dead", {"exit_note": str(note)} if re.fullmatch(_ENDED, note, re.ASCII):
            return f"The supervisor says: {note}."
        case "dead", {"status": "fatal"}:
            return "The supervisor gave up on it."
        case "dead", {"status": "backoff"}:
            return "It ends soon after each start."
        case "dead", {"status": "stopped"}:
            return "It is stopped and nothing starts it."
        case "disk_filling", {"free_percent": int(free) | float(free)}:
            return f"{free:.1f} % of it is free."
    return ""
