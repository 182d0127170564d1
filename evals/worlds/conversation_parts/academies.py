"""Fresh academies for trials: control and tenant database cloned on the server all worlds share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from evals.worlds.conversation_parts.drawing import Drawn
from evals.worlds.healing_parts.databases import TrialDatabases
from evals.worlds.postgres import CONTROL
from evals.worlds.recording import RecordingFleet
from memory import provision
from memory.database import Database, Databases
from memory.ids import new_id
from memory.tables.healing import Incident
from memory.tables.identity import TenantRecord
from tools.healing.repository import LOOK, HealingRepository
from tools.kit.deps import Caller

SEEN = {"well": ("healthy", "answers in 4 ms"), "down": ("dead", "it does not run")}
HUNG = ("hung", "no answer to 3 probes (timeout); its process is stopped by a signal (state T)")
SINCE = timedelta(seconds=40)
"""How long everything has been as it is."""


@dataclass(frozen=True)
class Academy:
    """One trial's academy, and the person who talks in it."""

    databases: Databases
    tenant: Database
    person: Caller


class Academies(TrialDatabases):
    """The server that all conversations of this process share; the last one to leave stops it."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Academy]:
        """A fresh academy; its databases are dropped after."""
        async with self.cloned() as control:
            tenant = provision.tenant_database_name(control.name, provision.FIRST_SLUG)
            async with provision.connection(self._admin) as server:
                template = provision.template_name(CONTROL)
                await provision.create(server, tenant, template=template)
            databases = Databases(control.url, pool_size=5)
            try:
                async with databases.control.unit_of_work() as session:
                    await session.execute(update(TenantRecord).values(database=tenant))
                person = control.person
                yield Academy(databases, await databases.tenant(person.tenant_id), person)
            finally:
                await databases.dispose()
                task = asyncio.create_task(self._drop(tenant))
                self._dropping.add(task)
                task.add_done_callback(self._dropping.discard)


SHARED = Academies()
"""The one of this process."""


async def write_seen(control: Database, fleet: RecordingFleet, drawn: Drawn) -> None:
    """What the healer would have written of the fleet: states, and an incident for each fault."""
    now = datetime.now(UTC)
    rows = []
    for service in fleet.fleet().services:
        for one in service.replicas:
            state = drawn.ill.get(one.name, "well")
            status, note = HUNG if state == "hung" else SEEN[state]
            facts = fleet.facts[one.name]
            rows.append(
                {
                    "service": service.name,
                    "replica": one.name,
                    "status": status,
                    "note": note,
                    "pid": facts.pid,
                    "started_at": facts.started_at,
                    "restarts": 0,
                    "since": now - SINCE,
                    "signals": {"latency_ms": 4.0, "rss_mb": 40.0} if state == "well" else {},
                    "updated_at": now,
                }
            )
    look = {**rows[0], "service": LOOK[0], "replica": LOOK[1], "status": "", "signals": {}}
    async with control.unit_of_work() as session:
        await HealingRepository(session).replace_states([look, *rows])
        session.add_all(_incident(name, state, now) for name, state in drawn.ill.items())


def _incident(replica: str, state: str, now: datetime) -> Incident:
    service = replica.rsplit("-", 1)[0]
    hung = state == "hung"
    return Incident(
        id=new_id("inc"),
        service=service,
        replica=replica,
        target=f"{service}/{replica}",
        kind="hung" if hung else "dead",
        state="explained",
        title=f"{replica} hangs" if hung else f"{replica} is dead",
        cause="Its process is stopped by a signal (state T)." if hung else "It was stopped.",
        explanation="3 probes in a row got no answer." if hung else "Its process does not run.",
        evidence=[{"for": True, "text": "3 probes in a row got no answer"}],
        before={"frozen": True} if hung else {"status": "stopped"},
        after={},
        resolution="",
        opened_at=now - SINCE,
        updated_at=now,
        closed_at=None,
    )
