"""Permits that the gate gives for four repairs before any has begun, and what happens in between.

Four replicas hang, each has its incident, and the gate would let any one restart run alone. What is
attacked is the time between its yes and the effect: all four come before one has begun, or what it
judged by changes. One restart may be at work at a time, and none whose cause or level is gone may
begin.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from evals.benchmarks.gate_parts.proven import ENOUGH, OPERATION, TARGET, ProvenGate
from evals.benchmarks.permit_binding_parts.attacks import Attack
from evals.benchmarks.permit_binding_parts.stage import STAFF
from memory.tables.autonomy import Action
from tools.autonomy import freezes, service
from tools.autonomy.gatekeeper import Gatekeeping
from tools.autonomy.live_record import withdraw_autonomy
from tools.autonomy.policy import AutonomyConfig
from tools.kit.errors import CapabilityError
from tools.kit.gatekeeper import Intention
from tools.kit.leases import driving
from tools.kit.operation import Plan, Warrant

TARGETS = (TARGET, "player/player-1", "worker/worker-1", "library/library-1")


@dataclass
class Repairs:
    """A gate, four replicas that hang, and what became of restarting them."""

    gate: ProvenGate
    refusals: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)

    @property
    def keeper(self) -> Gatekeeping:
        """A gatekeeper over the gate's evidence."""
        gate = self.gate
        config = AutonomyConfig(locks=gate.folder / "locks")
        return Gatekeeping(
            gate.database, gate.operations, gate.context, config, evidence=gate.evidence
        )

    async def propose(self) -> None:
        """Propose all four restarts before one of them begins; the level is earned for each."""
        self.gate.fleet.hung.update(target.split("/")[1] for target in TARGETS)
        alone = await self.gate.plan(service="player", replica="player-1")
        await self.gate.earn(first=ENOUGH, region=alone.region)
        for target in TARGETS:
            service_name, _, replica = target.partition("/")
            mine = target == TARGET
            incident = self.gate.incident if mine else await self.gate.open_incident(target)
            warrant = Warrant(kind="incident", id=incident, operation=OPERATION, target=target)
            proposed = await self.keeper.propose(
                self.gate.caller,
                [Intention(OPERATION, {"service": service_name, "replica": replica}, warrant)],
                decided_by="engine",
                executor="healer",
                title=f"Restart {replica}",
                incident_id=incident,
            )
            self.actions.append(proposed.actions[0].id)
            if proposed.outcome != "run":
                self.refusals.append(proposed.reason)

    async def drive(self) -> None:
        """Drive all four at once."""
        await asyncio.gather(*(self._tried(self.keeper.drive(one)) for one in self.actions))

    async def begin(self) -> None:
        """Use all four permits up at once, and have the effect wherever that worked."""
        await asyncio.gather(*(self._tried(self._begin_and_apply(one)) for one in self.actions))

    async def change(self, statement: str, **values: Any) -> None:
        """Change rows as somebody who can write the database."""
        async with self.gate.database.unit_of_work() as session:
            await session.execute(text(statement), values)

    def effects(self) -> tuple[int, int]:
        """Restarts of the four, and of others."""
        restarts = self.gate.fleet.restarts
        mine = sum(restarts[target] for target in TARGETS)
        return mine, sum(restarts.values()) - mine

    async def _begin_and_apply(self, action_id: str) -> None:
        with driving() as holder:
            action = await self.keeper.begin(action_id, "apply", holder)
        operation = self.gate.operations[action.operation]
        arguments = operation.arguments.model_validate(action.arguments)
        plan = Plan.model_validate(action.plan)
        await operation.apply(self.gate.context, arguments, plan, action.id)

    async def _tried(self, work: Any) -> None:
        try:
            await work
        except CapabilityError as refused:
            self.refusals.append(refused.message)


async def all_at_once(repairs: Repairs) -> None:
    """All four are proposed before one begins, and driven together."""
    await repairs.propose()
    await repairs.drive()


async def permits_for_all(repairs: Repairs) -> None:
    """Somehow all four have a permit of the gate; they are used up together."""
    await repairs.propose()
    gate = repairs.gate
    async with gate.database.unit_of_work() as session:
        for question in await service.list_approvals(session, STAFF, state="pending"):
            await service.decide(
                session,
                STAFF,
                question.id,
                decision="approve",
                digest=question.digest,
                clock=gate.clock,
                config=AutonomyConfig(locks=gate.folder / "locks"),
            )
    await repairs.change("UPDATE permit SET granted_by = 'gate'")
    await repairs.begin()


async def withdrawn_between(repairs: Repairs) -> None:
    """Autonomy of the operation is withdrawn before one begins."""
    await repairs.propose()
    async with repairs.gate.database.unit_of_work() as session:
        action = await session.get(Action, repairs.actions[0])
        assert action is not None
        await withdraw_autonomy(session, action, repairs.gate.clock.now())
    await repairs.drive()


async def closed_between(repairs: Repairs) -> None:
    """The incidents are closed before one begins."""
    await repairs.propose()
    await repairs.change("UPDATE incident SET closed_at = now(), state = 'closed'")
    await repairs.drive()


async def frozen_between(repairs: Repairs) -> None:
    """A person freezes everything before one begins."""
    await repairs.propose()
    gate = repairs.gate
    async with gate.database.unit_of_work() as session:
        await freezes.freeze(session, freezes.ordered(STAFF, "*", reason="exams", clock=gate.clock))
    await repairs.drive()


KIND = "given, not begun"
ATTACKS: Sequence[Attack[Repairs]] = (
    Attack(KIND, "four proposed before one begins", all_at_once, allowed=1),
    Attack(KIND, "four permits used up at once", permits_for_all, allowed=1),
    Attack(KIND, "autonomy is withdrawn", withdrawn_between),
    Attack(KIND, "the incidents are closed", closed_between),
    Attack(KIND, "everything is frozen", frozen_between),
)
