"""A gate and a database of values for the incident loop, and a bench that turns its rounds."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from memory.errors import StoreUnavailable
from memory.ids import new_id
from tests.fakes.clock import FakeClock
from tests.fakes.infrastructure import FakeInfrastructure
from tools.healing.local_store import LocalStore
from tools.healing.loop import HealingLoop
from tools.healing.policy import HealingPolicy
from tools.healing.schemas import FleetView, IncidentView
from tools.healing.watch import Sample
from tools.kit.deps import Caller, engine
from tools.kit.errors import Conflict, NotFound
from tools.kit.gatekeeper import Intention, Proposed, ProposedAction, Settled
from tools.kit.ledger import Purpose
from tools.kit.operation import Operation, OperationContext, Plan
from tools.kit.provenance import Identifiers
from tools.kit.standing import StandingPermits

OPEN = ("asked", "permitted", "intended", "applied")


class FakeControlStore:
    """What the healer wrote to the database; `up` False makes every call fail."""

    def __init__(self) -> None:
        self.up = True
        self.incidents: dict[str, IncidentView] = {}
        self.samples: list[Sample] = []
        self.view: FleetView | None = None
        self.begun: list[str] = []
        self.at_work: list[str] = []
        self.gate: FakeGatekeeper | None = None

    def need(self) -> None:
        """Fail while the database is down."""
        if not self.up:
            raise StoreUnavailable("The database can't be reached.")

    async def ping(self) -> None:
        """Answer while it is up."""
        self.need()

    async def open_incidents(self) -> list[IncidentView]:
        """Open ones."""
        self.need()
        return [i for i in self.incidents.values() if i.closed_at is None]

    async def save(self, incidents: Sequence[IncidentView]) -> None:
        """Keep them."""
        self.need()
        for view in incidents:
            before = self.incidents.get(view.id)
            assert before is None or len(before.timeline) <= len(view.timeline)
            self.incidents[view.id] = view

    async def save_look(self, view: FleetView, samples: Sequence[Sample]) -> None:
        """Keep them."""
        self.need()
        self.view = view
        self.samples += samples

    async def begun_since(self, since: datetime) -> Sequence[str]:
        """As the test says."""
        self.need()
        return self.begun

    async def held(self, since: datetime) -> Sequence[str]:
        """As the test says."""
        self.need()
        return self.at_work

    async def open_action(self, incident_id: str) -> tuple[str, str | None, str] | None:
        """From the gate's own rows."""
        self.need()
        assert self.gate is not None
        for action in self.gate.actions.values():
            if action.incident_id == incident_id and action.state in OPEN:
                return action.id, action.approval_id, action.state
        return None


@dataclass
class FakeAction:
    """One action at the gate."""

    id: str
    incident_id: str
    intention: Intention
    plan: Plan
    approval_id: str | None
    state: str
    text: str = ""


class FakeGatekeeper:
    """`tools.kit.gatekeeper.Gatekeeper` that plans and applies with the real operations."""

    def __init__(
        self,
        store: FakeControlStore,
        operations: dict[str, Operation[Any]],
        context: OperationContext,
    ) -> None:
        self.store = store
        store.gate = self
        self.operations = operations
        self.context = context
        self.outcome: Literal["ask", "run", "refuse"] = "ask"
        self.actions: dict[str, FakeAction] = {}
        self.approvals: dict[str, str] = {}
        self.proposals = 0
        self.withdrawn: list[str] = []
        self.lapses = ""
        """Why nothing that the gate allowed may begin any more; empty where it may."""
        self.recovered = 0
        self.hold: asyncio.Event | None = None
        """While set to an event, `drive` waits for it after the effect."""

    async def propose(
        self,
        caller: Caller,
        intentions: Sequence[Intention],
        *,
        decided_by: Literal["engine", "model", "person"],
        executor: Literal["healer", "agents"],
        title: str,
        incident_id: str | None = None,
        thread_id: str | None = None,
        run_id: str | None = None,
        tool_call_id: str | None = None,
        tainted: bool = False,
        identifiers: Identifiers | None = None,
    ) -> Proposed:
        """Plan, and answer `outcome`."""
        self.store.need()
        assert decided_by == "engine"
        assert executor == "healer"
        assert incident_id in self.store.incidents, "the gate must find the incident"
        self.proposals += 1
        [intention] = intentions
        operation = self.operations[intention.operation]
        plan = await operation.plan(
            self.context, operation.arguments.model_validate(intention.arguments)
        )
        assert plan.target == intention.warrant.target
        for other in self.actions.values():
            if other.plan.target == plan.target and other.state in OPEN:
                raise Conflict(f"{other.id} holds {plan.target}.")
        approval_id = new_id("apr") if self.outcome == "ask" else None
        state = {"ask": "asked", "run": "permitted", "refuse": "refused"}[self.outcome]
        action = FakeAction(new_id("act"), incident_id or "", intention, plan, approval_id, state)
        self.actions[action.id] = action
        if approval_id:
            self.approvals[approval_id] = "pending"
        proposed = ProposedAction(
            action.id, intention.operation, plan.target, state, plan, "digest", "evidence: none yet"
        )
        return Proposed(self.outcome, "evidence: none yet", (proposed,), approval_id)

    async def drive(self, action_id: str, purpose: Purpose = "apply") -> Settled:
        """Apply and verify once."""
        self.store.need()
        action = self.actions[action_id]
        if action.state == "permitted":
            operation = self.operations[action.intention.operation]
            arguments = operation.arguments.model_validate(action.intention.arguments)
            check = await operation.precondition(self.context, arguments, action.plan)
            if not check.ok:
                action.state, action.text = "withdrawn", check.text
                return self._settled(action)
            if self.lapses:
                action.state, action.text = "withdrawn", self.lapses
                raise Conflict(self.lapses)
            action.state = "intended"
            effect = await operation.apply(self.context, arguments, action.plan, action.id)
            if self.hold is not None:
                await self.hold.wait()
            check = await operation.verify(self.context, arguments, action.plan, effect)
            self.store.need()
            action.state, action.text = "verified" if check.ok else "escalated", check.text
        elif action.state in ("asked", "intended"):
            raise Conflict("There is no valid permit.")
        return self._settled(action)

    async def standing(self, approval_id: str) -> tuple[str, list[Settled]]:
        """As it stands."""
        self.store.need()
        if approval_id not in self.approvals:
            raise NotFound("There is no such approval.")
        return self.approvals[approval_id], [
            self._settled(a) for a in self.actions.values() if a.approval_id == approval_id
        ]

    async def ready(self, executor: str) -> Sequence[tuple[str, Purpose]]:
        """Permitted ones."""
        self.store.need()
        return [(a.id, "apply") for a in self.actions.values() if a.state == "permitted"]

    async def recover(self, executor: str) -> Sequence[Settled]:
        """Settle what a dead healer left: the effect is looked for in the world."""
        self.store.need()
        self.recovered += 1
        settled = []
        for action in self.actions.values():
            if action.state == "intended":
                operation = self.operations[action.intention.operation]
                arguments = operation.arguments.model_validate(action.intention.arguments)
                seen = await operation.observe(self.context, arguments, action.plan, action.id)
                action.state = "verified" if seen == "done" else "failed"
                action.text = f"looked at afterwards: {seen}"
                settled.append(self._settled(action))
        return settled

    async def withdraw(self, incident_id: str, reason: str) -> None:
        """What has not begun goes."""
        self.store.need()
        self.withdrawn.append(incident_id)
        for action in self.actions.values():
            if action.incident_id == incident_id and action.state in ("asked", "permitted"):
                action.state = "withdrawn"
                if action.approval_id:
                    self.approvals[action.approval_id] = "withdrawn"

    def decide(self, decision: Literal["approved", "denied", "expired"]) -> None:
        """A person's answer to the one pending question."""
        [approval] = [a for a, state in self.approvals.items() if state == "pending"]
        self.approvals[approval] = decision
        for action in self.actions.values():
            if action.approval_id == approval:
                action.state = "permitted" if decision == "approved" else decision

    @staticmethod
    def _settled(action: FakeAction) -> Settled:
        return Settled(
            action.id, action.intention.operation, action.plan.target, action.state, action.text
        )


class Bench:
    """A healer over fakes; `turn` makes rounds two seconds apart."""

    def __init__(
        self,
        folder: Path,
        infrastructure: FakeInfrastructure,
        clock: FakeClock,
        operations: dict[str, Operation[Any]],
        policy: HealingPolicy | None = None,
    ) -> None:
        self.folder = folder
        self.infrastructure = infrastructure
        self.clock = clock
        self.policy = policy or HealingPolicy()
        self.store = FakeControlStore()
        self.gate = FakeGatekeeper(self.store, operations, OperationContext(infrastructure, clock))
        self.local = LocalStore(folder / "healer", folder / "logs" / "alerts.log")
        self.hands: StandingPermits | None = None
        self.loop = self.another()

    def another(self) -> HealingLoop:
        """A fresh healer process over the same world, files and database."""

        async def caller() -> Caller:
            self.store.need()
            return engine("healer", tenant_id="ten-1", tenant_slug="dynasty")

        return HealingLoop(
            infrastructure=self.infrastructure,
            gatekeeper=self.gate,
            caller=caller,
            store=self.store,
            local=self.local,
            clock=self.clock,
            policy=self.policy,
            standing=self.hands,
        )

    async def restart(self) -> None:
        """The healer dies without a word; another one starts."""
        self.loop = self.another()
        await self.loop.start()

    async def turn(self, rounds: int = 1) -> None:
        """Rounds with everything they set off, each followed by two seconds."""
        for _ in range(rounds):
            await self.loop.round()
            if self.loop.store_reachable:
                await self.loop.do_work()
            if self.gate.hold is None:
                await self.loop.quiet()
            else:
                for _ in range(50):
                    await asyncio.sleep(0)
            self.clock.advance(seconds=2)

    async def until(self, state: str, *, within: int = 20) -> IncidentView:
        """Rounds until the only incident is in *state*."""
        for _ in range(within):
            await self.turn()
            found = [c for c in self.loop.cases if c.state == state]
            if found:
                return found[0]
        raise AssertionError([(c.kind, c.state, c.timeline[-1].text) for c in self.loop.cases])

    @property
    def standing(self) -> list[str]:
        """Kind, target and state of every incident, newest first."""
        return [f"{c.kind} {c.target} {c.state}" for c in self.loop.cases]

    @property
    def alerts(self) -> list[str]:
        """Lines of the alerts' log."""
        path = self.local.alerts
        return path.read_text().splitlines() if path.exists() else []

    def change(self, **fields: Any) -> None:
        """Other limits for the next healer."""
        self.policy = replace(self.policy, **fields)
