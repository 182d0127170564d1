"""A gatekeeper over the world of dials, with people and the steps most tests begin with."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from memory.database import Database
from memory.tables.autonomy import Action, AuditEntry
from memory.tables.healing import Incident
from memory.tables.identity import Person
from tests.fakes.clock import FakeClock
from tests.fakes.turning import Dials, PressButton, TurnDial, no_infrastructure
from tools.autonomy import service
from tools.autonomy.gatekeeper import Gatekeeping
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.schemas import ApprovalView
from tools.kit.deps import Caller
from tools.kit.gatekeeper import Intention, Proposed
from tools.kit.operation import OperationContext, Warrant

TURN = TurnDial.name
PRESS = PressButton.name
INCIDENT = "inc-dial"
"""The one that `Desk.open_incident` opens."""


def by_request(dial: str, to: int = 1, operation: str = TURN) -> Intention:
    """A person asked for it."""
    warrant = Warrant(kind="request", id="run-1", operation=operation, target=f"dials/{dial}")
    return Intention(operation=operation, arguments={"dial": dial, "to": to}, warrant=warrant)


class Desk:
    """One gatekeeper with its world, clock and the people around it."""

    def __init__(self, database: Database, clock: FakeClock, locks: Path, staff: Caller) -> None:
        self.database = database
        self.clock = clock
        self.staff = staff
        self.world = Dials()
        self.config = AutonomyConfig(locks=locks)
        self.gatekeeper = self.another()

    def another(self) -> Gatekeeping:
        """A gatekeeper of a fresh process over the same world and database."""
        operations = {op.name: op for op in (TurnDial(self.world), PressButton(self.world))}
        context = OperationContext(infrastructure=no_infrastructure(), clock=self.clock)
        gatekeeper = Gatekeeping(self.database, operations, context, self.config)
        gatekeeper.driver = replace(gatekeeper.driver, **self.fast())
        return gatekeeper

    def fast(self) -> dict[str, Callable[..., Any]]:
        """Pauses that take no time: each one moves a timer of its own."""
        elapsed = [0.0]

        async def pause(seconds: float) -> None:
            elapsed[0] += seconds

        return {"pause": pause, "timer": lambda: elapsed[0]}

    async def people(self) -> None:
        """The person behind `staff`, so that names resolve."""
        async with self.database.unit_of_work() as session:
            assert self.staff.person_id
            session.add(
                Person(
                    id=self.staff.person_id,
                    email=None,
                    name=self.staff.name,
                    password_hash=None,
                    operator=False,
                    created_at=self.clock.now(),
                )
            )

    async def open_incident(
        self, target: str = "dials/a", *, closed_at: datetime | None = None
    ) -> str:
        """A dial hangs, and hangs no more since *closed_at* where given; the incident's id."""
        at = self.clock.now()
        async with self.database.unit_of_work() as session:
            session.add(
                Incident(
                    id=INCIDENT,
                    service="dials",
                    replica=None,
                    target=target,
                    kind="hung",
                    state="open",
                    title="A dial hangs",
                    cause="",
                    explanation="",
                    evidence=[],
                    before={},
                    after={},
                    resolution="",
                    opened_at=at,
                    updated_at=at,
                    closed_at=closed_at,
                )
            )
        return INCIDENT

    async def propose(
        self, *intentions: Intention, caller: Caller | None = None, **more: Any
    ) -> Proposed:
        """Propose as staff, for the agents worker."""
        values: dict[str, Any] = {"decided_by": "person", "executor": "agents", "title": "Turn"}
        return await self.gatekeeper.propose(
            caller or self.staff, intentions or [by_request("a")], **(values | more)
        )

    async def decide(
        self,
        approval_id: str | None,
        decision: Literal["approve", "deny"] = "approve",
        *,
        digest: str | None = None,
        caller: Caller | None = None,
    ) -> ApprovalView:
        """Answer a question with the digest it has."""
        assert approval_id
        async with self.database.unit_of_work() as session:
            if digest is None:
                shown = await service.get_approval(session, self.staff, approval_id)
                digest = shown.digest
            return await service.decide(
                session,
                caller or self.staff,
                approval_id,
                decision=decision,
                digest=digest,
                clock=self.clock,
                config=self.config,
            )

    async def permitted(self, *intentions: Intention, **more: Any) -> list[str]:
        """Propose and approve; answers the action ids in order."""
        proposed = await self.propose(*intentions, **more)
        await self.decide(proposed.approval_id)
        return [action.id for action in proposed.actions]

    async def action(self, action_id: str) -> Action:
        """The row as it stands."""
        async with self.database.unit_of_work() as session:
            row = await session.get(Action, action_id)
            assert row is not None
            return row

    async def states(self, action_ids: Sequence[str]) -> list[str]:
        """States of actions in the order asked."""
        return [(await self.action(action_id)).state for action_id in action_ids]

    async def audit_kinds(self, subject: str | None = None) -> list[str]:
        """Kinds of the audit rows in order, of one subject where given."""
        async with self.database.unit_of_work() as session:
            query = select(AuditEntry.kind, AuditEntry.subject).order_by(AuditEntry.seq)
            rows = (await session.execute(query)).all()
        return [row.kind for row in rows if subject in (None, row.subject)]


async def outcome_of(work: Awaitable[Any]) -> Any:
    """What *work* answered or raised."""
    try:
        return await work
    except Exception as error:
        return error
