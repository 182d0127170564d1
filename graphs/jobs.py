"""Jobs by the clock, on procrastinate in the control database: several workers share them safely.

Nothing here is needed for a repair; what is missed while no worker runs is done at the next time.
"""

from collections.abc import Mapping
from datetime import timedelta

import structlog
from procrastinate import App, PsycopgConnector
from sqlalchemy import delete, select

from graphs.runtime import Runtime
from memory.database import Database
from memory.tables.healing import Incident
from memory.tables.identity import TenantRecord
from memory.tables.threads import Run, RunEvent
from tools.autonomy.service import expire_due
from tools.kit.deps import engine
from tools.kit.errors import CapabilityError

EVENTS_KEPT = timedelta(days=30)
"""How long a run's events can be replayed; its messages stay."""
REMEMBERED = 50
"""Incidents remembered in one go."""
REMEMBER_BACK = timedelta(days=2)
"""How far back a closed incident is looked for; remembering one again changes nothing."""

log = structlog.get_logger(__name__)


def build_jobs(runtime: Runtime) -> App:
    """The job application; `run_worker_async` of it works until it is cancelled."""
    app = App(connector=PsycopgConnector(conninfo=runtime.databases.control.plain_url))

    @app.periodic(cron="* * * * * */20")
    @app.task(queueing_lock="expire", name="expire_approvals", pass_context=False)
    async def expire_approvals(timestamp: int) -> None:
        """Close questions nobody answered in time (the healer does it too, when it is there)."""
        async with runtime.databases.control.unit_of_work() as session:
            if expired := await expire_due(session, runtime.services.clock):
                log.info("approvals.expired", count=expired)

    @app.periodic(cron="17 * * * *")
    @app.task(queueing_lock="retention", name="forget_events")
    async def forget_events(timestamp: int) -> None:
        """Delete events of runs that ended long ago."""
        for tenant_id in await _tenants(runtime.databases.control):
            await forget_old_events(runtime, tenant_id)

    @app.periodic(cron="*/2 * * * *")
    @app.task(queueing_lock="remember", name="remember_incidents")
    async def remember_incidents(timestamp: int) -> None:
        """Keep closed incidents in the memory of every tenant that may see the fleet."""
        await remember_closed(runtime)

    return app


async def _tenants(control: Database) -> Mapping[str, TenantRecord]:
    async with control.unit_of_work() as session:
        return {row.id: row for row in await session.scalars(select(TenantRecord))}


async def forget_old_events(runtime: Runtime, tenant_id: str) -> None:
    """Delete one tenant's events older than `EVENTS_KEPT` whose run has ended."""
    before = runtime.services.clock.now() - EVENTS_KEPT
    tenant = await runtime.databases.tenant(tenant_id)
    async with tenant.unit_of_work() as session:
        ended = select(Run.id).where(Run.finished_at < before)
        await session.execute(delete(RunEvent).where(RunEvent.run_id.in_(ended)))


async def remember_closed(runtime: Runtime) -> int:
    """Remember incidents that closed lately; how many there were."""
    since = runtime.services.clock.now() - REMEMBER_BACK
    async with runtime.databases.control.unit_of_work() as session:
        closed = (
            await session.scalars(
                select(Incident)
                .where(Incident.closed_at >= since)
                .order_by(Incident.closed_at.desc())
                .limit(REMEMBERED)
            )
        ).all()
    tenants = [row for row in (await _tenants(runtime.databases.control)).values() if row.fleet]
    for tenant in tenants:
        caller = engine("memory", tenant_id=tenant.id, tenant_slug=tenant.slug)
        for incident in closed:
            try:
                await runtime.memory.remember(
                    caller,
                    incident.id,
                    incident_note(incident),
                    kind="incidents",
                    source=f"incident {incident.id}",
                    at=incident.closed_at,
                )
            except CapabilityError as error:
                log.warning("incident.not_remembered", incident=incident.id, why=error.message)
                return 0
    return len(closed)


def incident_note(incident: Incident) -> str:
    """An incident as a text worth recalling."""
    return (
        f"{incident.title} ({incident.target}, {incident.kind}). Cause: {incident.cause} "
        f"{incident.explanation} How it ended: {incident.resolution}"
    )
