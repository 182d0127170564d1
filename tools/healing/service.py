"""The fleet and its incidents as people and programs may read them from the control database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from memory.tables.healing import Incident, IncidentEvent, ReplicaState
from tools.healing.repository import LOOK, HealingRepository
from tools.healing.schemas import (
    FleetView,
    IncidentEventView,
    IncidentView,
    ReplicaView,
    Series,
    ServiceView,
)
from tools.healing.signals import series_of
from tools.healing.watch import worst
from tools.kit.deps import Caller
from tools.kit.errors import NotFound
from tools.kit.infrastructure import Fleet, ReplicaSpec, ServiceSpec

CHART_POINTS = 60
"""Points of one chart: more can't be told apart at 360 pixels."""
STALE = timedelta(seconds=30)
"""The ceiling of the probe period: what is older was not looked at."""
MOST_LISTED = 200


async def fleet_view(
    session: AsyncSession,
    caller: Caller,
    fleet: Fleet,
    *,
    series_minutes: int = 10,
    now: datetime | None = None,
) -> FleetView:
    """The described fleet with what the healer last saw of it.

    A replica the healer has not seen is `unknown`, and a look older than 30 s is told as such.
    *series_minutes* 0 leaves the series out.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    moment = now or datetime.now(UTC)
    repository = HealingRepository(session)
    states = {(row.service, row.replica): row for row in await repository.replica_states()}
    series: dict[tuple[str, str], list[Series]] = {}
    if series_minutes > 0:
        rows = await repository.signals(moment - timedelta(minutes=series_minutes))
        series = _series(rows)
    open_incidents = await repository.open_ids()
    head = states.get(LOOK)
    looked_at = head.updated_at if head else None
    problems = [*fleet.problems]
    problems += [p for p in (head.signals.get("problems", []) if head else []) if p not in problems]
    if looked_at is None:
        problems.append("The healer has not looked at the fleet yet.")
    elif moment - looked_at > STALE:
        problems.append(
            f"The healer last looked {(moment - looked_at).total_seconds():.0f} s ago; "
            "it may not be running."
        )
    return FleetView(
        services=[_service(s, states, series, open_incidents) for s in fleet.services],
        looked_at=looked_at,
        problems=problems,
    )


async def list_incidents(
    session: AsyncSession,
    caller: Caller,
    *,
    open_only: bool | None = None,
    limit: int = 50,
    before: datetime | None = None,
) -> list[IncidentView]:
    """Incidents, newest first, without timelines.

    Args:
        session: of the control database.
        caller: who asks.
        open_only: True for open ones, False for closed ones, None for both.
        limit: 1 to 200.
        before: only those opened before this moment.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    repository = HealingRepository(session)
    rows = await repository.incidents(
        open_only=open_only, before=before, limit=max(1, min(limit, MOST_LISTED))
    )
    events = await repository.events([row.id for row in rows])
    return [
        incident_view(row, [e for e in events if e.incident_id == row.id], timeline=False)
        for row in rows
    ]


async def get_incident(session: AsyncSession, caller: Caller, incident_id: str) -> IncidentView:
    """One incident with its timeline.

    Raises:
        Forbidden: the caller may not see the fleet.
        NotFound: there is no such incident.
    """
    caller.require_fleet()
    repository = HealingRepository(session)
    row = await repository.incident(incident_id)
    if row is None:
        raise NotFound(f"There is no incident {incident_id}.")
    return incident_view(row, await repository.events([incident_id]))


def incident_view(
    row: Incident, events: Sequence[IncidentEvent], *, timeline: bool = True
) -> IncidentView:
    """A stored incident as everybody sees it; its actions are those its events name."""
    actions: dict[str, None] = {}
    for event in events:
        actions.update(dict.fromkeys(event.data.get("action_ids", [])))
    return IncidentView(
        id=row.id,
        service=row.service,
        replica=row.replica,
        target=row.target,
        kind=row.kind,
        state=row.state,
        title=row.title,
        cause=row.cause,
        explanation=row.explanation,
        evidence=row.evidence,
        before=row.before,
        after=row.after,
        resolution=row.resolution,
        opened_at=row.opened_at,
        updated_at=row.updated_at,
        closed_at=row.closed_at,
        action_ids=list(actions),
        timeline=[IncidentEventView(at=e.at, kind=e.kind, text=e.text, data=e.data) for e in events]
        if timeline
        else [],
    )


def _service(
    spec: ServiceSpec,
    states: dict[tuple[str, str], ReplicaState],
    series: dict[tuple[str, str], list[Series]],
    open_incidents: Sequence[tuple[str, str]],
) -> ServiceView:
    replicas = [
        _replica(r, states.get((spec.name, r.name)), series.get((spec.name, r.name), []))
        for r in spec.replicas
    ]
    return ServiceView(
        name=spec.name,
        title=spec.title,
        kind=spec.kind,
        status=worst([r.status for r in replicas]),
        depends_on=list(spec.depends_on),
        replicas=replicas,
        series=series.get((spec.name, ""), []),
        open_incidents=[i for service, i in open_incidents if service == spec.name],
    )


def _replica(spec: ReplicaSpec, row: ReplicaState | None, series: list[Series]) -> ReplicaView:
    if row is None:
        return ReplicaView(
            name=spec.name,
            status="unknown",
            note="the healer has not seen it yet",
            pid=None,
            started_at=None,
            restarts=0,
            since=None,
            signals={},
            series=series,
        )
    return ReplicaView(
        name=spec.name,
        status=row.status,
        note=row.note,
        pid=row.pid,
        started_at=row.started_at,
        restarts=row.restarts,
        since=row.since,
        signals=row.signals,
        series=series,
    )


def _series(
    rows: Sequence[Row[str, str, str, datetime, float]],
) -> dict[tuple[str, str], list[Series]]:
    points: dict[tuple[str, str, str], list[tuple[datetime, float]]] = {}
    for service, replica, name, at, value in rows:
        points.setdefault((service, replica, name), []).append((at, value))
    series: dict[tuple[str, str], list[Series]] = {}
    for (service, replica, name), found in points.items():
        series.setdefault((service, replica), []).append(
            series_of(name, downsample(found, CHART_POINTS))
        )
    return series


def downsample(points: Sequence[tuple[datetime, float]], most: int) -> list[tuple[datetime, float]]:
    """At most *most* points: averages over equal numbers of neighbours, each at its last moment."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // most)
    # Counted from the end, so that the newest point never stands for fewer than the others.
    first = len(points) % size
    begins = [*([0] if first else []), *range(first, len(points), size)]
    groups = [points[b:e] for b, e in zip(begins, [*begins[1:], len(points)], strict=True)]
    return [(g[-1][0], round(sum(v for _, v in g) / len(g), 3)) for g in groups]
