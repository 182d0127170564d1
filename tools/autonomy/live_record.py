"""What happens in production counts too: one failed check takes autonomy back at once.

Whoever had decided: the check tells of the operation, not of the decision. Only a change of the
operation lifts it.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.ids import new_id
from memory.tables.autonomy import Action
from memory.tables.healing import Incident, IncidentEvent
from memory.tables.trials import TriedFingerprint, Withdrawal

KIND = "autonomy_withdrawn"
"""Kind of the incident that tells people; no repair follows from it."""
FAILED = frozenset({"not_helped"})
"""States that say that a check was made and did not hold."""
DECIDED = {"engine": "an engine", "model": "a model", "person": "a person"}
"""Who decided, in words."""


async def withdraw_autonomy(
    session: AsyncSession, action: Action, at: datetime, current: Collection[str] = ()
) -> None:
    """Take autonomy of a locked action's operation back, whoever decides, and say so once.

    Args:
        session: the unit of work.
        action: the one whose check failed; it counts whether or not its own fingerprint is known.
        at: the moment.
        current: the operation's fingerprints now, of each who may decide. Those that were tried
            with a model count as well, because not every process can tell a model's; where none
            can be told, every one that was tried does.

    The first failed check under a fingerprint does it; later ones add nothing.
    """
    under = {*current, *([action.fingerprint] if action.fingerprint else [])}
    tried = select(TriedFingerprint).where(TriedFingerprint.operation == action.operation)
    under.update(
        one.fingerprint
        for one in await session.scalars(tried)
        if not current or "model" in one.parts
    )
    if not under:
        return
    said = (action.check or {}).get("text", "its check failed")
    by = DECIDED.get(action.decided_by, action.decided_by)
    reason = f"{action.plan['summary']} did not help: {said} ({action.id}, decided by {by})"
    # Two that fail at one moment come one by one: together they open one incident.
    await audit.hold_head(session)
    open_already = await session.scalar(
        select(Incident.id).where(
            Incident.kind == KIND, Incident.target == action.operation, Incident.closed_at.is_(None)
        )
    )
    incident_id = open_already or new_id("inc")
    made = await session.execute(
        upsert(Withdrawal)
        .values(
            [
                {
                    "operation": action.operation,
                    "fingerprint": fingerprint,
                    "action_id": action.id,
                    "reason": reason,
                    "incident_id": incident_id,
                    "at": at,
                }
                for fingerprint in sorted(under)
            ]
        )
        .on_conflict_do_nothing()
        .returning(Withdrawal.fingerprint)
    )
    fresh = sorted(made.scalars())
    if not fresh:
        return
    await audit.append(
        session,
        at=at,
        actor="gate",
        kind="autonomy.withdrawn",
        subject=action.operation,
        body={
            "fingerprints": fresh,
            "action": action.id,
            "decided_by": action.decided_by,
            "reason": reason,
        },
    )
    if open_already is None:
        _tell(session, action, incident_id, reason, at)


async def close_superseded(session: AsyncSession, current: dict[str, str], at: datetime) -> int:
    """Close incidents of withdrawals whose operation has another fingerprint by now.

    *current* is the fingerprint of each operation now. Answers how many were closed.
    """
    rows = await session.execute(
        select(Incident, Withdrawal.fingerprint)
        .join(Withdrawal, Withdrawal.incident_id == Incident.id)
        .where(Incident.kind == KIND, Incident.closed_at.is_(None))
        .with_for_update(of=Incident)
    )
    under: dict[str, tuple[Incident, set[str]]] = {}
    for found, fingerprint in rows.all():
        under.setdefault(found.id, (found, set()))[1].add(fingerprint)
    closed = 0
    for incident, fingerprints in under.values():
        now = current.get(incident.target)
        if now is None or now in fingerprints:
            continue
        resolution = "The operation has changed since; it earns its level anew."
        await session.execute(
            update(Incident)
            .where(Incident.id == incident.id)
            .values(state="closed", resolution=resolution, updated_at=at, closed_at=at)
        )
        session.add(_event(incident.id, 1, at, "closed", resolution))
        closed += 1
    return closed


def _tell(
    session: AsyncSession, action: Action, incident_id: str, reason: str, at: datetime
) -> None:
    """Open the incident, already with people: there is nothing a machine could do about it."""
    text = (
        "From now on each action of this operation asks. Find why the check failed, add a case for "
        "it to the suite and mend it: the changed operation earns its level anew."
    )
    session.add(
        Incident(
            id=incident_id,
            service=action.target.split("/")[0].split(":")[0],
            replica=None,
            target=action.operation,
            kind=KIND,
            state="escalated",
            title=f"Autonomy of {action.operation} withdrawn",
            cause=reason,
            explanation=text,
            evidence=[{"for": True, "text": f"Action {action.id}: {reason}"}],
            before={},
            after={},
            resolution="",
            opened_at=at,
            updated_at=at,
            closed_at=None,
        )
    )
    session.add(_event(incident_id, 0, at, "detected", reason))


def _event(incident_id: str, number: int, at: datetime, kind: str, text: str) -> IncidentEvent:
    return IncidentEvent(
        id=f"{incident_id}-{number:04d}",
        incident_id=incident_id,
        at=at,
        kind=kind,
        text=text,
        data={},
    )
