"""Every query of the healing room, built from a session of the control database.

`begun_since`, `at_work` and `open_action` read the autonomy room's table of actions, which this
room never writes: whether a restart was one of ours is a question about actions.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.tables.autonomy import OPEN_STATES, Action
from memory.tables.healing import Incident, IncidentEvent, ReplicaState, Signal
from tools.healing.schemas import IncidentView

LOOK = ("", "")
"""Key of the row that says when the healer looked and what it could not see."""


AT_WORK = ("intended", "applied", "not_helped", "undoing")
"""States of an action whose effect may be happening."""


class HealingRepository:
    """The queries."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def replica_states(self) -> Sequence[ReplicaState]:
        """What the healer last saw of every replica, its own row included."""
        return (await self.session.scalars(select(ReplicaState))).all()

    async def replace_states(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write what was seen; replicas that are no longer described go."""
        statement = insert(ReplicaState)
        await self.session.execute(
            statement.on_conflict_do_update(
                index_elements=["service", "replica"],
                set_={
                    name: statement.excluded[name]
                    for name in (
                        "status",
                        "note",
                        "pid",
                        "started_at",
                        "restarts",
                        "since",
                        "signals",
                        "updated_at",
                    )
                },
            ),
            rows,
        )
        latest = max(row["updated_at"] for row in rows)
        await self.session.execute(delete(ReplicaState).where(ReplicaState.updated_at < latest))

    async def add_signals(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append samples."""
        await self.session.execute(insert(Signal), rows)

    async def forget_signals(self, before: datetime) -> int:
        """Remove samples older than *before*; how many there were."""
        removed = await self.session.scalars(
            delete(Signal).where(Signal.at < before).returning(Signal.id)
        )
        return len(removed.all())

    async def signals(
        self, since: datetime, *, most: int = 50_000
    ) -> Sequence[Row[str, str, str, datetime, float]]:
        """Service, replica, name, at and value of samples since *since*, oldest first.

        Plain rows: a page asks for thousands of them, and objects would cost five times as much.
        """
        rows = await self.session.execute(
            select(Signal.service, Signal.replica, Signal.name, Signal.at, Signal.value)
            .where(Signal.at >= since)
            .order_by(Signal.at.desc())
            .limit(most)
        )
        return rows.all()[::-1]

    async def incident(self, incident_id: str, *, lock: bool = False) -> Incident | None:
        """One incident; *lock* holds its row until the unit of work ends."""
        query = select(Incident).where(Incident.id == incident_id)
        return (await self.session.scalars(query.with_for_update() if lock else query)).first()

    async def incidents(
        self, *, open_only: bool | None, before: datetime | None, limit: int
    ) -> Sequence[Incident]:
        """Incidents, newest first; *open_only* None means both, False the closed ones."""
        query = select(Incident).order_by(Incident.opened_at.desc(), Incident.id).limit(limit)
        if open_only is not None:
            query = query.where(
                Incident.closed_at.is_(None) if open_only else Incident.closed_at.is_not(None)
            )
        if before is not None:
            query = query.where(Incident.opened_at < before)
        return (await self.session.scalars(query)).all()

    async def open_ids(self) -> Sequence[tuple[str, str]]:
        """Service and id of every open incident."""
        rows = await self.session.execute(
            select(Incident.service, Incident.id)
            .where(Incident.closed_at.is_(None))
            .order_by(Incident.opened_at)
        )
        return [(service, incident) for service, incident in rows.all()]

    async def events(self, incident_ids: Sequence[str]) -> Sequence[IncidentEvent]:
        """Timelines of these incidents, in order."""
        rows = await self.session.scalars(
            select(IncidentEvent)
            .where(IncidentEvent.incident_id.in_(incident_ids))
            .order_by(IncidentEvent.incident_id, IncidentEvent.id)
        )
        return rows.all()

    async def save_incident(self, view: IncidentView) -> None:
        """Write an incident and those lines of its timeline that are not there yet."""
        values = view.model_dump(exclude={"timeline", "action_ids"})
        statement = insert(Incident).values(**values)
        await self.session.execute(
            statement.on_conflict_do_update(
                index_elements=["id"], set_={k: v for k, v in values.items() if k != "id"}
            )
        )
        if view.timeline:
            await self.session.execute(
                insert(IncidentEvent).on_conflict_do_nothing(index_elements=["id"]),
                [
                    {
                        "id": event_id(view.id, number),
                        "incident_id": view.id,
                        **event.model_dump(),
                    }
                    for number, event in enumerate(view.timeline)
                ],
            )

    async def open_twin(self, view: IncidentView) -> Incident | None:
        """Another open incident of the same fault."""
        query = select(Incident).where(
            Incident.target == view.target,
            Incident.kind == view.kind,
            Incident.closed_at.is_(None),
            Incident.id != view.id,
        )
        return (await self.session.scalars(query.with_for_update())).first()

    async def begun_since(self, since: datetime) -> Sequence[str]:
        """Targets of actions at work now, or whose effect was recorded after *since*."""
        ended = ("verified", "undone", "escalated", "stuck", "failed")
        rows = await self.session.scalars(
            select(Action.target).where(
                or_(
                    Action.state.in_(AT_WORK),
                    and_(Action.state.in_(ended), Action.updated_at >= since),
                )
            )
        )
        return rows.all()

    async def at_work(self, since: datetime) -> Sequence[str]:
        """Targets on which an action that moved after *since* is at work."""
        rows = await self.session.scalars(
            select(Action.target).where(
                Action.state.in_(AT_WORK),
                Action.updated_at >= since,
            )
        )
        return rows.all()

    async def open_action(self, incident_id: str) -> Action | None:
        """The action proposed for an incident that holds its target still."""
        rows = await self.session.scalars(
            select(Action)
            .where(Action.incident_id == incident_id, Action.state.in_(OPEN_STATES))
            .order_by(Action.created_at.desc())
        )
        return rows.first()


def event_id(incident_id: str, number: int) -> str:
    """The id of an incident's *number*-th event: the same event is never written twice."""
    return f"{incident_id}-{number:04d}"
