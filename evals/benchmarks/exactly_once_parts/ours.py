"""The product's own road through one action, walked by a process that may die at any step.

`walk` is what a process does that has just started, whether anything happened before or not: it
settles what was left half done, proposes (the same call again finds its first proposal), answers as
the person would, and drives what is permitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue

from evals.benchmarks.exactly_once_parts.fate import Fate, MortalDatabase
from evals.benchmarks.exactly_once_parts.fleet import infrastructure_of
from evals.worlds.book import MakeEntry
from evals.worlds.postgres import TENANT_ID
from memory.provision import FIRST_SLUG
from tools.autonomy import service
from tools.autonomy.gatekeeper import Gatekeeping
from tools.autonomy.ledger import RecordedAction
from tools.autonomy.policy import AutonomyConfig
from tools.healing.policy import HealingPolicy
from tools.healing.restart_replica import RestartReplica
from tools.kit.clock import SystemClock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict
from tools.kit.gatekeeper import Intention, Proposed
from tools.kit.ledger import Purpose
from tools.kit.operation import Check, Operation, OperationContext, Plan, Warrant

EXECUTOR = "agents"
PROBE_SECONDS = 10.0
"""Longest wait for a clerk's answer: a busy machine must not look like a fault of the clerk."""

STAFF = Caller(
    tenant_id=TENANT_ID,
    tenant_slug=FIRST_SLUG,
    person_id="per-staff",
    name="Ada",
    roles=frozenset({"staff"}),
    fleet=True,
)
"""Who asks and who answers: the operations are of low risk, so that one person may do both."""


@dataclass(frozen=True)
class Errand:
    """What one run is about."""

    run: str
    """Names the run: its thread, its tool call and, in a world of books, its book."""
    database: str
    """URL of the control database."""
    folder: str
    """The world, and the file locks beside it."""
    operation: str
    target: str
    arguments: dict[str, JsonValue]
    undo: bool = False
    """Whether the person wants it undone once it is verified."""


class MortalGatekeeping(Gatekeeping):
    """The product's gatekeeper with a boundary around every step it commits."""

    fate: Fate

    async def propose(self, *given: Any, **more: Any) -> Proposed:
        """As the product's, between two boundaries."""
        async with self.fate.around("ask"):
            return await super().propose(*given, **more)

    async def begin(self, action_id: str, purpose: Purpose, holder: str) -> RecordedAction:
        """As the product's, between two boundaries."""
        async with self.fate.around("intent" if purpose == "apply" else "undo intent"):
            return await super().begin(action_id, purpose, holder)

    async def take_over(self, action_id: str, holder: str) -> RecordedAction:
        """As the product's, between two boundaries."""
        async with self.fate.around("take over"):
            return await super().take_over(action_id, holder)

    async def record(self, action_id: str, state: str, **more: Any) -> RecordedAction:
        """As the product's, between two boundaries."""
        async with self.fate.around(f"record {state}"):
            return await super().record(action_id, state, **more)


class MortalOperation(Operation[BaseModel]):
    """An operation with a boundary around what it does and looks at; the rest is its own."""

    def __init__(self, inner: Operation[Any], fate: Fate) -> None:
        self._inner = inner
        self._fate = fate
        for name in ("name", "title", "arguments", "risk", "reversibility", "autonomous"):
            setattr(self, name, getattr(inner, name))
        self.verify_within = inner.verify_within  # type: ignore[misc]

    async def plan(self, context: OperationContext, arguments: BaseModel) -> Plan:
        """The inner operation's."""
        return await self._inner.plan(context, arguments)

    async def precondition(
        self, context: OperationContext, arguments: BaseModel, plan: Plan
    ) -> Check:
        """The inner operation's, between two boundaries."""
        async with self._fate.around("precondition"):
            return await self._inner.precondition(context, arguments, plan)

    async def apply(
        self, context: OperationContext, arguments: BaseModel, plan: Plan, key: str
    ) -> dict[str, Any]:
        """The inner operation's, between two boundaries."""
        async with self._fate.around("apply"):
            return await self._inner.apply(context, arguments, plan, key)

    async def observe(
        self, context: OperationContext, arguments: BaseModel, plan: Plan, key: str
    ) -> Any:
        """The inner operation's, between two boundaries."""
        async with self._fate.around("observe"):
            return await self._inner.observe(context, arguments, plan, key)

    async def verify(
        self, context: OperationContext, arguments: BaseModel, plan: Plan, effect: dict[str, Any]
    ) -> Check:
        """The inner operation's, between two boundaries."""
        async with self._fate.around("verify"):
            return await self._inner.verify(context, arguments, plan, effect)

    async def undo(
        self,
        context: OperationContext,
        arguments: BaseModel,
        plan: Plan,
        effect: dict[str, Any],
        key: str,
    ) -> Check:
        """The inner operation's, between two boundaries."""
        async with self._fate.around("undo"):
            return await self._inner.undo(context, arguments, plan, effect, key)


async def walk(errand: Errand, fate: Fate) -> dict[str, Any]:
    """Go the whole road, or what is left of it; where the action and its call stand at the end.

    Answers `{"id", "state", "note", "actions", "listed"}`: the call's action as staff is shown it,
    how many actions the one request became, and whether staff finds it in the list.
    """
    database = MortalDatabase(errand.database, fate)
    folder = Path(errand.folder)
    context = OperationContext(infrastructure=infrastructure_of(folder, fate), clock=SystemClock())
    restart = RestartReplica(HealingPolicy(probe_timeout=PROBE_SECONDS))
    operations: list[Operation[Any]] = [MakeEntry(folder), restart]
    gatekeeper = MortalGatekeeping(
        database,
        {operation.name: MortalOperation(operation, fate) for operation in operations},
        context,
        AutonomyConfig(locks=folder / "locks"),
    )
    gatekeeper.fate = fate
    gatekeeper.driver = replace(gatekeeper.driver, poll=timedelta(milliseconds=25))
    try:
        await gatekeeper.recover(EXECUTOR)
        proposed = await _propose(gatekeeper, errand)
        action_id = proposed.actions[0].id
        await _answer(database, proposed.approval_id, fate, "permit")
        await _drive_ready(gatekeeper)
        if errand.undo:
            await _undo(database, gatekeeper, errand, action_id, fate)
        async with database.unit_of_work() as session:
            listed = await service.list_actions(session, STAFF, target=errand.target, limit=500)
        shown = [action for action in listed if action.thread_id == errand.run]
        mine = next((action for action in shown if action.id == action_id), None)
        return {
            "id": action_id,
            "state": mine.state if mine else "missing",
            "note": mine.note if mine else "",
            "actions": len(shown),
            "listed": mine is not None,
        }
    finally:
        await database.dispose()


async def _propose(gatekeeper: Gatekeeping, errand: Errand) -> Proposed:
    warrant = Warrant(
        kind="request", id=errand.run, operation=errand.operation, target=errand.target
    )
    return await gatekeeper.propose(
        STAFF,
        [Intention(errand.operation, dict(errand.arguments), warrant)],
        decided_by="person",
        executor="agents",
        title=f"{errand.operation} on {errand.target}",
        thread_id=errand.run,
        run_id=errand.run,
        tool_call_id=errand.run,
    )


async def _answer(database: MortalDatabase, approval_id: str | None, fate: Fate, step: str) -> None:
    """The person says yes to a question that is still open."""
    if approval_id is None:
        return
    async with database.unit_of_work() as session:
        shown = await service.get_approval(session, STAFF, approval_id)
    if shown.state != "pending":
        return
    async with fate.around(step), database.unit_of_work() as session:
        await service.decide(
            session,
            STAFF,
            approval_id,
            decision="approve",
            digest=shown.digest,
            clock=SystemClock(),
            config=AutonomyConfig(locks=Path()),
        )


async def _drive_ready(gatekeeper: Gatekeeping) -> None:
    """What a worker does each round: all the work of its executor that nobody does."""
    ready: Sequence[tuple[str, Purpose]] = await gatekeeper.ready(EXECUTOR)
    for action_id, purpose in ready:
        await gatekeeper.drive(action_id, purpose)


async def _undo(
    database: MortalDatabase, gatekeeper: Gatekeeping, errand: Errand, action_id: str, fate: Fate
) -> None:
    """The person asks for the undo of what was verified, says yes, and it is driven."""
    try:
        async with fate.around("ask undo"), database.unit_of_work() as session:
            question = await service.ask_undo(
                session,
                STAFF,
                action_id,
                clock=SystemClock(),
                config=AutonomyConfig(locks=Path()),
                thread_id=errand.run,
                run_id=errand.run,
            )
    except Conflict:
        # It isn't verified (any more): there is nothing to undo, and the answer said why.
        return
    await _answer(database, question.id, fate, "permit undo")
    await _drive_ready(gatekeeper)
