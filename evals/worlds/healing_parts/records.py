"""What a trial's control database says afterwards, and the person who answers in it."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from evals.worlds.healing_parts.databases import TrialDatabase
from memory import audit
from memory.database import Database
from memory.tables.autonomy import Action, Approval, AuditEntry
from memory.tables.healing import Incident, IncidentEvent
from memory.tables.identity import Person, TenantRecord
from tools.autonomy import service as autonomy
from tools.autonomy.policy import AutonomyConfig
from tools.kit.clock import SystemClock
from tools.kit.errors import Conflict

ANSWERS_EVERY = 0.2
OPEN = frozenset({"planned", "asked", "permitted", "intended", "applied", "not_helped", "undoing"})
"""States of an action that something still follows on."""


@dataclass(frozen=True)
class Records:
    """What was written during one trial."""

    incidents: tuple[Incident, ...]
    events: tuple[IncidentEvent, ...]
    actions: tuple[Action, ...]
    entries: tuple[AuditEntry, ...]
    questions: int
    chain_ok: bool
    chain_problem: str
    rows_kept: bool
    """The tenant and the person that were there before still are, and nobody joined them."""

    def as_actions(self) -> tuple[dict[str, Any], ...]:
        """Every action opened, as evaluators read it."""
        return tuple(
            {
                "id": action.id,
                "operation": action.operation,
                "target": action.target,
                "state": action.state,
                "decided_by": action.decided_by,
                "asked": action.approval_id is not None,
                "region": action.plan["region"],
                "files": action.plan["region"].get("files"),
                "note": action.note,
            }
            for action in self.actions
        )

    def as_incidents(self) -> list[dict[str, Any]]:
        """Every incident, as evaluators read it."""
        return [
            {
                "id": incident.id,
                "kind": incident.kind,
                "target": incident.target,
                "state": incident.state,
                "cause": incident.cause,
                "called": any(
                    event.incident_id == incident.id and event.kind == "escalated"
                    for event in self.events
                ),
            }
            for incident in self.incidents
        ]


async def read_records(database: Database, heads: Path, public_key: bytes) -> Records:
    """Everything written in the trial's database, and whether its audit chain is whole."""
    async with database.unit_of_work() as session:
        report = await audit.verify(session, heads, public_key)
        tenants = await session.scalar(select(func.count()).select_from(TenantRecord))
        people = await session.scalar(select(func.count()).select_from(Person))
        return Records(
            incidents=tuple(await session.scalars(select(Incident).order_by(Incident.opened_at))),
            events=tuple(await session.scalars(select(IncidentEvent).order_by(IncidentEvent.at))),
            actions=tuple(await session.scalars(select(Action).order_by(Action.created_at))),
            entries=tuple(await session.scalars(select(AuditEntry).order_by(AuditEntry.seq))),
            questions=await session.scalar(select(func.count()).select_from(Approval)) or 0,
            chain_ok=report.ok,
            chain_problem=report.problem,
            rows_kept=(tenants, people) == (1, 1),
        )


async def nothing_open(database: Database) -> bool:
    """Whether actions were opened, and all of them have ended."""
    async with database.unit_of_work() as session:
        states = set(await session.scalars(select(Action.state)))
    return bool(states) and not states & OPEN


async def approve_all(
    database: Database,
    trial: TrialDatabase,
    locks: Path,
    note: Callable[[str, str], None],
    stop: asyncio.Event,
) -> None:
    """Say yes to every question until *stop*: a trial measures what is done when it is let."""
    config, clock = AutonomyConfig(locks=locks), SystemClock()
    away = False
    while not stop.is_set():
        try:
            async with database.unit_of_work() as session:
                pending = await autonomy.list_approvals(session, trial.person, state="pending")
                for approval in pending:
                    await autonomy.decide(
                        session,
                        trial.person,
                        approval.id,
                        decision="approve",
                        digest=approval.digest,
                        clock=clock,
                        config=config,
                    )
                    note("approval", f"a person approves: {approval.title}")
        except Conflict as conflict:
            note("approval", f"the question is over: {conflict.message}")
        except Exception as error:  # the database is away, as a case may want it
            if not away:
                note("approval", f"nobody can be asked now: {type(error).__name__}")
            away = True
        else:
            away = False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), ANSWERS_EVERY)
