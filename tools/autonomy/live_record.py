"""What happens in production counts too: one failed check takes autonomy back at once."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.ids import new_id
from memory.tables.autonomy import Action
from memory.tables.healing import Incident, IncidentEvent
from memory.tables.trials import Withdrawal

KIND = "autonomy_withdrawn"
"""Kind of the incident that tells people; no repair follows from it."""
FAILED = frozenset({"not_helped"})
"""States that say that a check was made and did not hold."""


async def withdraw_autonomy(session: AsyncSession, action: Action, at: datetime) -> None:
    """Take autonomy of a locked action's operation back, under its fingerprint, and say so.

    The first failed check does it; later ones add nothing. An action whose fingerprint couldn't be
    told withdraws nothing, because nothing could have let it run alone.
    """
    if action.fingerprint is None:
        return
    said = (action.check or {}).get("text", "its check failed")
    reason = f"{action.plan['summary']} did not help: {said}"
    incident_id = new_id("inc")
    made = await session.execute(
        upsert(Withdrawal)
        .values(
            operation=action.operation,
            fingerprint=action.fingerprint,
            action_id=action.id,
            reason=reason,
            incident_id=incident_id,
            at=at,
        )
        .on_conflict_do_nothing()
        .returning(Withdrawal.operation)
    )
    if made.first() is None:
        return
    await audit.append(
        session,
        at=at,
        actor="gate",
        kind="autonomy.withdrawn",
        subject=action.operation,
        body={"fingerprint": action.fingerprint, "action": action.id, "reason": reason},
    )
    open_already = select(Incident.id).where(
        Incident.kind == KIND, Incident.target == action.operation, Incident.closed_at.is_(None)
    )
    if (await session.execute(open_already)).first() is None:
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
    closed = 0
    for incident, fingerprint in rows.all():
        now = current.get(incident.target)
        if now is None or now == fingerprint:
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
