"""The control database as the healer's loop uses it: every call is one short unit of work.

Opening, escalating and closing an incident is written to the audit log with the incident itself,
once each, whenever the database gets to know of it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from memory import audit
from memory.database import Database
from memory.tables.healing import Incident
from tools.healing.repository import LOOK, HealingRepository
from tools.healing.schemas import FleetView, IncidentView
from tools.healing.service import incident_view
from tools.healing.watch import Sample
from tools.kit.errors import Unavailable

ACTOR = "engine:healer"
News = tuple[str, datetime, dict[str, Any]]
"""Kind, moment and body of one audit row."""


class HealerDatabase:
    """`tools.healing.loop.ControlStore` over the control database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> None:
        """Return when it answers.

        Raises:
            StoreUnavailable: it doesn't.
        """
        await self._database.ping()

    async def open_incidents(self) -> list[IncidentView]:
        """All open incidents of the fleet with their timelines."""
        async with self._database.unit_of_work() as session:
            repository = HealingRepository(session)
            found = await repository.incidents(open_only=True, before=None, limit=1000)
            rows = [row for row in found if row.kind != "autonomy_withdrawn"]
            events = await repository.events([row.id for row in rows])
            return [
                incident_view(row, [e for e in events if e.incident_id == row.id]) for row in rows
            ]

    async def save(self, incidents: Sequence[IncidentView]) -> None:
        """Write these incidents and the audit rows of what is new about them.

        Raises:
            Unavailable: another open incident of the same fault stands in the database.
        """
        async with self._database.unit_of_work() as session:
            repository = HealingRepository(session)
            # A closed one makes room for an open one of the same fault.
            for view in sorted(incidents, key=lambda v: (v.closed_at is None, v.opened_at)):
                before = await repository.incident(view.id, lock=True)
                if view.closed_at is None and before is None:
                    twin = await repository.open_twin(view)
                    if twin is not None:
                        raise Unavailable(
                            f"{twin.id} is open for the same fault; {view.id} is not stored."
                        )
                news = _news(before, view)
                await repository.save_incident(view)
                for kind, at, body in news:
                    await audit.append(
                        session, at=at, actor=ACTOR, kind=kind, subject=view.id, body=body
                    )

    async def save_look(self, view: FleetView, samples: Sequence[Sample]) -> None:
        """Write what was seen and append the samples."""
        at = view.looked_at
        if at is None:
            return
        rows: list[dict[str, Any]] = [
            {
                "service": service.name,
                "replica": replica.name,
                "status": replica.status,
                "note": replica.note,
                "pid": replica.pid,
                "started_at": replica.started_at,
                "restarts": replica.restarts,
                "since": replica.since or at,
                "signals": replica.signals,
                "updated_at": at,
            }
            for service in view.services
            for replica in service.replicas
        ]
        rows.append(
            {
                "service": LOOK[0],
                "replica": LOOK[1],
                "status": "healthy",
                "note": "when the healer looked, and what it could not see",
                "pid": None,
                "started_at": None,
                "restarts": 0,
                "since": at,
                "signals": {"problems": view.problems},
                "updated_at": at,
            }
        )
        async with self._database.unit_of_work() as session:
            repository = HealingRepository(session)
            await repository.replace_states(rows)
            if samples:
                await repository.add_signals(
                    [
                        {
                            "service": s.service,
                            "replica": s.replica,
                            "name": s.name,
                            "at": s.at,
                            "value": s.value,
                        }
                        for s in samples
                    ]
                )

    async def begun_since(self, since: datetime) -> Sequence[str]:
        """Targets of actions whose effect may have happened since *since*."""
        async with self._database.unit_of_work() as session:
            return await HealingRepository(session).begun_since(since)

    async def held(self, since: datetime) -> Sequence[str]:
        """Targets on which an action that moved after *since* is at work."""
        async with self._database.unit_of_work() as session:
            return await HealingRepository(session).at_work(since)

    async def open_action(self, incident_id: str) -> tuple[str, str | None, str] | None:
        """Id, approval and state of the action that an incident still holds its target with."""
        async with self._database.unit_of_work() as session:
            action = await HealingRepository(session).open_action(incident_id)
            return (action.id, action.approval_id, action.state) if action else None

    async def forget_signals(self, before: datetime) -> int:
        """Remove samples older than *before*; how many there were."""
        async with self._database.unit_of_work() as session:
            return await HealingRepository(session).forget_signals(before)


def _news(
    before: Incident | None, view: IncidentView
) -> list[tuple[str, datetime, dict[str, Any]]]:
    """What the audit log has not been told of this incident yet: kind, moment and body."""
    body = {"target": view.target, "kind": view.kind}
    news: list[tuple[str, datetime, dict[str, Any]]] = []
    if before is None:
        news.append(
            ("incident.opened", view.opened_at, {**body, "title": view.title, "cause": view.cause})
        )
    told = before.updated_at if before is not None else None
    news += [
        ("incident.escalated", event.at, {**body, "reason": event.text})
        for event in view.timeline
        if event.kind == "escalated" and (told is None or event.at > told)
    ]
    if view.closed_at is not None and (before is None or before.closed_at is None):
        news.append(("incident.closed", view.closed_at, {**body, "resolution": view.resolution}))
    return news
