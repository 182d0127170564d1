"""From what was measured to what is told: who started which process, and the trial's trajectory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from evals.suites.base import Played, Step
from evals.worlds.healing_parts.drawing import HARMLESS, KINDS
from evals.worlds.healing_parts.faults import Breaker
from evals.worlds.healing_parts.notes import Notes
from evals.worlds.healing_parts.records import Records
from evals.worlds.healing_parts.supervised import Event

ENVIRONMENT = "local, up to 10 replicas"
"""Class of the environment that these worlds are."""


def starts_by_whom(
    events: Sequence[Event], stops: Mapping[str, int], starts: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """Per program that ended: how often it was started again, and by whom.

    Read from supervisord's own log: a start after an end by itself is the `supervisor`'s; one after
    somebody told supervisord to stop, or after it had given up, was told, and so `healer`'s unless
    the world itself (*stops*, *starts*) did it. `stopped` counts stops that the world didn't order.
    """
    last: dict[str, str] = {}
    found: dict[str, dict[str, int]] = {}
    told_starts: Counter[str] = Counter()
    told_stops: Counter[str] = Counter()
    for event in events:
        before = last.get(event.program)
        last[event.program] = event.kind
        if before is None:
            continue  # its first start, by the world
        mine = found.setdefault(event.program, {"supervisor": 0, "healer": 0, "stopped": 0})
        if event.kind == "stopped":
            told_stops[event.program] += 1
        elif event.kind == "spawned":
            if before == "exited":
                mine["supervisor"] += 1
            else:
                told_starts[event.program] += 1
    for name, mine in found.items():
        mine["healer"] = max(0, told_starts[name] - starts.get(name, 0))
        mine["stopped"] = max(0, told_stops[name] - stops.get(name, 0))
    return found


def steps_of(
    began: datetime, noted: Sequence[Step], events: Sequence[Event], records: Records | None
) -> tuple[Step, ...]:
    """Everything that happened, in order of time: of the world, supervisord and the healer."""

    def step(at: datetime, kind: str, text: str, **data: Any) -> Step:
        return Step(at=max(0.0, (at - began).total_seconds()), kind=kind, text=text, data=data)

    found = [*noted]
    found += [
        step(e.at, "supervisor", f"{e.kind}: {e.program} {e.text}".rstrip())
        for e in events
        if e.at >= began
    ]
    if records is not None:
        by_id = {incident.id: incident for incident in records.incidents}
        found += [
            step(
                e.at,
                "incident",
                f"{by_id[e.incident_id].target}: {e.text}",
                incident=e.incident_id,
                what=e.kind,
            )
            for e in records.events
            if e.incident_id in by_id
        ]
        found += [
            step(a.created_at, "plan", a.plan["summary"], action=a.id, diff=a.plan["diff"])
            for a in records.actions
        ]
        found += [
            step(a.created_at, "gate", a.reason, action=a.id, conditions=a.conditions)
            for a in records.actions
        ]
        found += [
            step(e.at, "audit", f"{e.kind} of {e.subject} by {e.actor}", seq=e.seq)
            for e in records.entries
        ]
    return tuple(sorted(found, key=lambda one: one.at))


def told(
    notes: Notes,
    events: Sequence[Event],
    breaker: Breaker,
    files: dict[str, Any],
    records: Records | None,
) -> Played:
    """Everything measured, as evaluators read it."""
    faults = [
        {"kind": f.kind, "target": f.target, "service": f.service, "replica": f.replica}
        for f in notes.drawn.faults
    ]
    actions = records.as_actions() if records else ()
    begun = [a for a in actions if a["state"] not in ("denied", "expired", "withdrawn", "refused")]
    broken = [notes.broken_at[f.target] for f in notes.drawn.faults if f.kind not in HARMLESS]
    first = min(broken, default=None)
    recovered = (notes.whole_since - first).total_seconds() if first and notes.whole_since else None
    return Played(
        end={
            "whole": not notes.ill,
            "ill": notes.ill,
            "faults": faults,
            "restarts": starts_by_whom(events, breaker.stops, breaker.starts),
            "files": files,
            "healed": records is not None,
            "incidents": records.as_incidents() if records else [],
            "questions": records.questions if records else 0,
            "chain_ok": records.chain_ok if records else None,
            "chain_problem": records.chain_problem if records else "",
            "rows_kept": records.rows_kept if records else None,
        },
        trajectory=steps_of(notes.began, notes.steps, events, records),
        regions={a["operation"]: a["region"] for a in reversed(begun)},
        detected_s=_detected(notes, records),
        recovered_s=recovered if recovered is not None and recovered >= 0 else None,
        actions=actions,
        cost={"seconds": notes.seconds},
        environment=ENVIRONMENT,
    )


def _detected(notes: Notes, records: Records | None) -> float | None:
    """Seconds until the last of the faults that should become incidents had become one."""
    found: list[float] = []
    for fault in notes.drawn.faults:
        if fault.kind not in KINDS or records is None:
            continue
        opened = [
            incident.opened_at
            for incident in records.incidents
            if (incident.kind, incident.target) == (KINDS[fault.kind][0], fault.target)
        ]
        if not opened:
            return None
        found.append((min(opened) - notes.broken_at[fault.target]).total_seconds())
    return max([0.0, *found]) if found else None
