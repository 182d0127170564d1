"""Taking turns: claim queued runs, let the supervisor answer them, resume what people decided.

A worker may die at any line. What it held lapses with its lease and is queued again; the graph
goes on from its last checkpoint, and an action that was driven is found done.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from langgraph.types import Command, StateSnapshot
from sqlalchemy import select

from agents.errors import ModelError
from graphs import runs
from graphs.admission import Admission, Origin
from graphs.approvals import SETTLED
from graphs.events import EventWriter
from graphs.runs import ATTEMPTS, LEASE_SECONDS, Claimed, Waiting
from graphs.state import PendingCall, TurnState
from graphs.supervisor import Graph, Services, TurnContext, build_graph
from memory.checkpoints import CheckpointPool, FencedSaver, checkpoint_pool
from memory.database import Database, Databases
from memory.errors import LeaseLost, StoreUnavailable
from memory.tables.autonomy import Approval
from memory.tables.identity import TenantRecord
from tools.autonomy.service import withdraw_question
from tools.kit.deps import Caller
from tools.kit.errors import CapabilityError, Conflict
from tools.kit.ledger import Purpose

CONCURRENT_TURNS = 8
"""Turns one worker takes at once: they mostly wait for a model."""
SUPERSTEPS = 60
"""Nodes one turn may pass: five steps with several questions each stay well below."""
SUPERSEDED = "The conversation went on without a decision."

log = structlog.get_logger(__name__)


@dataclass
class Turns:
    """One worker's turns over every tenant."""

    databases: Databases
    services: Services
    owner: str
    """The worker's name in leases: unique for each start of the process."""
    concurrent: int = CONCURRENT_TURNS
    at_work: set[asyncio.Task[None]] = field(default_factory=set)
    _pools: dict[str, CheckpointPool] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _driving: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Turns"]:
        """Holds the checkpoint pools; at the end every turn is given back to be begun again."""
        async with self._stack:
            try:
                yield self
            finally:
                for task in self.at_work:
                    task.cancel()
                await asyncio.gather(*self.at_work, return_exceptions=True)

    @property
    def admission(self) -> Admission:
        """Who may still do what they asked for."""
        services = self.services
        return Admission(services.control, services.gatekeeper, services.clock)

    async def tenants(self) -> list[str]:
        """Ids of the tenants there are."""
        async with self.databases.control.unit_of_work() as session:
            return list(await session.scalars(select(TenantRecord.id).order_by(TenantRecord.id)))

    async def claim(self, tenant_id: str) -> bool:
        """Begin one queued run of a tenant, if there is one and a place for it."""
        if len(self.at_work) >= self.concurrent:
            return False
        tenant = await self.databases.tenant(tenant_id)
        async with tenant.unit_of_work() as session:
            claimed = await runs.claim_run(session, owner=self.owner, clock=self.services.clock)
        if claimed is None:
            return False
        task = asyncio.create_task(self.take(tenant_id, tenant, claimed), name=f"turn-{claimed.id}")
        self.at_work.add(task)
        task.add_done_callback(self.at_work.discard)
        return True

    async def requeue_lost(self, tenant_id: str) -> int:
        """Queue again what a dead worker left running."""
        tenant = await self.databases.tenant(tenant_id)
        async with tenant.unit_of_work() as session:
            lost = await runs.requeue_lost(session, clock=self.services.clock)
        if lost:
            log.warning("runs.requeued", tenant=tenant_id, runs=lost)
        return lost

    async def resume_decided(self, tenant_id: str) -> int:
        """Queue the runs whose every question has been settled; how many there were."""
        tenant = await self.databases.tenant(tenant_id)
        async with tenant.unit_of_work() as session:
            waiting = await runs.waiting_runs(session)
        states = await self._standings(waiting)
        queued = 0
        for one in waiting:
            decisions = {a: states.get(a, "withdrawn") for a in one.approval_ids}
            if "pending" in decisions.values():
                continue
            async with tenant.unit_of_work() as session:
                resumed = await runs.queue_resume(
                    session, one.id, decisions, clock=self.services.clock
                )
            queued += resumed is not None
        return queued

    async def _standings(self, waiting: list[Waiting]) -> dict[str, str]:
        wanted = {approval for one in waiting for approval in one.approval_ids}
        if not wanted:
            return {}
        async with self.services.control.unit_of_work() as session:
            rows = await session.execute(
                select(Approval.id, Approval.state).where(Approval.id.in_(wanted))
            )
            return {row.id: row.state for row in rows}

    async def drive_left_over(self, tenant_ids: list[str]) -> None:
        """Drive permitted work of the agents that no conversation will come back to."""
        gatekeeper = self.services.gatekeeper
        ready = [work for work in await gatekeeper.ready("agents") if work[0] not in self._driving]
        if not ready:
            return
        busy: set[str] = set()
        for tenant_id in tenant_ids:
            tenant = await self.databases.tenant(tenant_id)
            async with tenant.unit_of_work() as session:
                busy |= await runs.busy_threads(session)
        origins = await self.admission.origins([action_id for action_id, _ in ready])
        for action_id, purpose in ready:
            origin = origins[action_id]
            if origin.thread_id not in busy:
                self._driving.add(action_id)
                task = asyncio.create_task(self._drive(action_id, purpose, origin))
                self.at_work.add(task)
                task.add_done_callback(self.at_work.discard)

    async def _drive(self, action_id: str, purpose: Purpose, origin: Origin) -> None:
        try:
            if await self.admission.lapsed(action_id, origin):
                log.warning("action.right_lost", action=action_id)
                return
            settled = await self.services.gatekeeper.drive(action_id, purpose)
            log.info("action.driven", action=action_id, state=settled.state)
        except Conflict as busy:
            log.info("action.left_alone", action=action_id, why=busy.message)
        except (CapabilityError, StoreUnavailable) as error:
            log.warning("action.not_driven", action=action_id, why=str(error))
        finally:
            self._driving.discard(action_id)

    async def take(self, tenant_id: str, tenant: Database, claimed: Claimed) -> None:
        """Answer one claimed run, or leave it as it should be found."""
        events = EventWriter(tenant, claimed, self.services.clock)
        bound = log.bind(run=claimed.id, thread=claimed.thread_id, attempt=claimed.attempts)
        try:
            async with self._held(tenant, claimed):
                await self._answer(tenant_id, tenant, claimed, events)
        except LeaseLost:
            bound.warning("turn.lost")
        except StoreUnavailable as error:
            bound.warning("turn.store_unavailable", why=str(error))
            await self._give_back(tenant, claimed)
        except asyncio.CancelledError:
            await self._give_back(tenant, claimed)
            raise

    async def _answer(
        self, tenant_id: str, tenant: Database, claimed: Claimed, events: EventWriter
    ) -> None:
        bound = log.bind(run=claimed.id, thread=claimed.thread_id, attempt=claimed.attempts)
        if claimed.attempts > ATTEMPTS:
            await events.fail(
                f"This message ended the agents {ATTEMPTS} times, so it is left unanswered. "
                "Say it in other words, or ask for less at once.",
                "run_poisoned",
            )
            return
        try:
            await events.begin(mode=self.services.mode)
            caller = await self.admission.admit(tenant_id, claimed)
            await self._turn(tenant, claimed, caller, events)
        except (LeaseLost, StoreUnavailable):
            raise
        except ModelError as error:
            bound.warning("turn.model_failed", code=error.code, why=error.message)
            await self._tell_what_was_done(claimed, events)
            await events.fail(error.message, error.code)
        except CapabilityError as error:
            bound.warning("turn.failed", kind=error.kind, why=error.message)
            await self._tell_what_was_done(claimed, events)
            await events.fail(error.message, error.kind)
        except Exception:
            bound.exception("turn.broke")
            if claimed.attempts < ATTEMPTS:
                await self._give_back(tenant, claimed)
                return
            await self._tell_what_was_done(claimed, events)
            await events.fail(
                "Something in the agents broke on this message; it has been logged. "
                "What was already done is on the Audit page.",
                "run_broken",
            )

    async def _turn(
        self, tenant: Database, claimed: Claimed, caller: Caller, events: EventWriter
    ) -> None:
        saver = FencedSaver(await self._pool(tenant), claimed.fence)
        graph = build_graph(saver)
        config: Any = {
            "configurable": {"thread_id": claimed.thread_id},
            "recursion_limit": SUPERSTEPS,
        }
        snapshot = await graph.aget_state(config)
        entry = await self._entry(tenant, claimed, snapshot)
        if entry == "later":
            await self._give_back(tenant, claimed)
            return
        if entry != "ended":
            snapshot = await self._run(graph, config, entry, claimed, caller, events)
        pending = self._pending(snapshot)
        await saver.forget_older(claimed.thread_id)
        if pending:
            await events.pause(
                [
                    {"id": call["tool_call_id"], "approvalId": call["approval_id"]}
                    for call in pending
                ]
            )
        else:
            await events.finish()

    async def _run(
        self,
        graph: Graph,
        config: Any,
        entry: Any,
        claimed: Claimed,
        caller: Caller,
        events: EventWriter,
    ) -> StateSnapshot:
        context = TurnContext(
            services=self.services,
            caller=caller,
            thread_id=claimed.thread_id,
            events=events,
        )
        async with self.services.endpoint.run(claimed.id) as meter:
            events.meter = meter
            await graph.ainvoke(entry, config, context=context, durability="sync")
        await events.flush()
        return await graph.aget_state(config)

    async def _entry(self, tenant: Database, claimed: Claimed, snapshot: StateSnapshot) -> Any:
        """What to enter the graph with; `None` goes on from the checkpoint.

        `ended` when the turn is over or paused already, `later` when a decision goes first.
        """
        if claimed.kind == "resume":
            return self._resume_entry(claimed, snapshot)
        if snapshot.values.get("run_id") == claimed.id:
            return self._onward(snapshot)
        if await self._decided_meanwhile(tenant, claimed):
            return "later"
        return TurnState(run_id=claimed.id, text=claimed.text, specialist=claimed.specialist)

    def _resume_entry(self, claimed: Claimed, snapshot: StateSnapshot) -> Any:
        decisions: dict[str, str] = claimed.input["decisions"]
        pending = self._pending(snapshot)
        if pending and all(call["approval_id"] in decisions for call in pending):
            told = {call["tool_call_id"]: decisions[call["approval_id"]] for call in pending}
            return Command(resume={snapshot.interrupts[0].id: told})
        return self._onward(snapshot)

    @staticmethod
    def _onward(snapshot: StateSnapshot) -> Any:
        # Not `snapshot.next`: it leaves out a task whose writes were stored just before the worker
        # died, though the checkpoint that takes them in and names what follows is still missing.
        return None if snapshot.tasks and not snapshot.interrupts else "ended"

    @staticmethod
    def _pending(snapshot: StateSnapshot) -> list[PendingCall]:
        return list(snapshot.interrupts[0].value["approvals"]) if snapshot.interrupts else []

    async def _decided_meanwhile(self, tenant: Database, claimed: Claimed) -> bool:
        """Close what the thread still asks; True when a yes came first and must be carried out."""
        async with tenant.unit_of_work() as session:
            waiting = await runs.waiting_runs(session, thread_id=claimed.thread_id)
        for one in waiting:
            decisions = {a: await self._left_behind(a) for a in one.approval_ids}
            async with tenant.unit_of_work() as session:
                if "approved" in decisions.values():
                    await runs.queue_resume(session, one.id, decisions, clock=self.services.clock)
                    return True
                await runs.supersede(session, one.id, clock=self.services.clock)
        return False

    async def _left_behind(self, approval_id: str) -> str:
        async with self.services.control.unit_of_work() as session:
            return await withdraw_question(
                session, approval_id, reason=SUPERSEDED, clock=self.services.clock
            )

    async def _tell_what_was_done(self, claimed: Claimed, events: EventWriter) -> None:
        """Say how approved actions stand, though the words that should follow can't be had."""
        for approval_id, state in claimed.input.get("decisions", {}).items():
            if state == "approved":
                _, actions = await self.services.gatekeeper.standing(approval_id)
                for one in actions:
                    await events.say(f"{one.target}: {one.text}")
            elif state in SETTLED:
                await events.say(SETTLED[state])

    async def _pool(self, tenant: Database) -> CheckpointPool:
        if tenant.name not in self._pools:
            pool = await self._stack.enter_async_context(checkpoint_pool(tenant.plain_url))
            self._pools[tenant.name] = pool
        return self._pools[tenant.name]

    @asynccontextmanager
    async def _held(self, tenant: Database, claimed: Claimed) -> AsyncIterator[None]:
        """Renews the lease while the turn works, and ends the turn when it is lost."""
        turn = asyncio.current_task()
        assert turn is not None
        lost = False

        async def renew() -> None:
            nonlocal lost
            while True:
                await asyncio.sleep(LEASE_SECONDS / 3)
                try:
                    async with tenant.unit_of_work() as session:
                        await runs.renew(session, claimed, clock=self.services.clock)
                except StoreUnavailable as error:
                    log.warning("lease.not_renewed", run=claimed.id, why=str(error))
                except LeaseLost:
                    lost = True
                    turn.cancel()
                    return

        renewing = asyncio.create_task(renew(), name=f"lease-{claimed.id}")
        try:
            yield
        except asyncio.CancelledError:
            if lost:
                raise LeaseLost(f"Another worker has taken {claimed.thread_id}.") from None
            raise
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _give_back(self, tenant: Database, claimed: Claimed) -> None:
        with contextlib.suppress(LeaseLost, StoreUnavailable):
            async with tenant.unit_of_work() as session:
                await runs.requeue(session, claimed, clock=self.services.clock)
