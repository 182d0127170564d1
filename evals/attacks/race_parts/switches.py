"""Real questions about a harmless effect, in every state a request may find them in.

The effect is a counter per switch, so that "done twice" is a number and not an opinion. Questions
are proposed, decided and driven by the academy's own gate; only a moment that has passed, or a
crash in the middle of an effect, is written into the rows directly.
"""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field
from sqlalchemy import text

from evals.worlds.doors import Doors
from memory.ids import new_id
from tools.adapters.local import LocalInfrastructure
from tools.autonomy import service as autonomy
from tools.autonomy.gatekeeper import Gatekeeping
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.schemas import ApprovalView
from tools.kit.clock import SystemClock
from tools.kit.errors import CapabilityError
from tools.kit.gatekeeper import Intention
from tools.kit.operation import (
    Check,
    Observation,
    Operation,
    OperationContext,
    Plan,
    Reversibility,
    Risk,
    Value,
    Warrant,
)

TURN = "race.turn_switch"
ROUNDS = 3
"""How often both workers look for something to drive after each shape."""


class SwitchArguments(Value):
    """Which switch to turn."""

    switch: str = Field(pattern=r"^switch-[a-z0-9]{1,20}$")


class TurnSwitch(Operation[SwitchArguments]):
    """Turns a switch on, and back off; counts both."""

    name: ClassVar[str] = TURN
    title: ClassVar[str] = "Turn a switch"
    arguments = SwitchArguments
    risk: ClassVar[Risk] = "medium"
    reversibility: ClassVar[Reversibility] = "exact"
    verify_within: ClassVar[timedelta] = timedelta(seconds=1)

    def __init__(self) -> None:
        self.turned: Counter[str] = Counter()
        self.undone: Counter[str] = Counter()

    async def plan(self, context: OperationContext, arguments: SwitchArguments) -> Plan:
        """From off to on."""
        return Plan(
            target=f"switches/{arguments.switch}",
            summary=f"Turn {arguments.switch} on",
            diff=[f"- {arguments.switch}: off", f"+ {arguments.switch}: on"],
            state={"turned": self.turned[arguments.switch]},
            region={"kind": "switch"},
        )

    async def precondition(
        self, context: OperationContext, arguments: SwitchArguments, plan: Plan
    ) -> Check:
        """Holds always: only permits and states stand between a request and the effect."""
        return Check(ok=True, text="The switch is there.")

    async def apply(
        self, context: OperationContext, arguments: SwitchArguments, plan: Plan, key: str
    ) -> dict[str, Any]:
        """Count one turn; not idempotent on purpose, so that a second one shows."""
        self.turned[arguments.switch] += 1
        return {"key": key}

    async def observe(
        self, context: OperationContext, arguments: SwitchArguments, plan: Plan, key: str
    ) -> Observation:
        """Whether it was turned."""
        return "done" if self.turned[arguments.switch] else "not_done"

    async def verify(
        self,
        context: OperationContext,
        arguments: SwitchArguments,
        plan: Plan,
        effect: dict[str, Any],
    ) -> Check:
        """Whether it was turned."""
        return Check(ok=self.turned[arguments.switch] > 0, text="The switch is on.")

    async def undo(
        self,
        context: OperationContext,
        arguments: SwitchArguments,
        plan: Plan,
        effect: dict[str, Any],
        key: str,
    ) -> Check:
        """Count one turn back."""
        self.undone[arguments.switch] += 1
        return Check(ok=True, text="The switch is off again.")


class Switches:
    """Questions about switches, and two workers that carry out what was permitted."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._clock = SystemClock()
        self._config = AutonomyConfig(locks=doors.home / "locks")
        home = doors.home
        fleet = LocalInfrastructure(
            home / "fleet.toml", home, home / "run" / "ports.json", home / "run" / "none.sock"
        )
        self._fleet = fleet
        self.operation = TurnSwitch()
        context = OperationContext(infrastructure=fleet, clock=self._clock)
        self._workers = [
            Gatekeeping(doors.control, {TURN: self.operation}, context, self._config)
            for _ in range(2)
        ]

    async def aclose(self) -> None:
        """Close what the adapter holds."""
        await self._fleet.aclose()

    @property
    def effects(self) -> int:
        """Turns and turns back so far."""
        return self.operation.turned.total() + self.operation.undone.total()

    async def ask(self, person: str = "ada") -> ApprovalView:
        """A question that waits, asked for by *person*."""
        switch = f"switch-{new_id('s').partition('-')[2]}"
        caller = self._doors.caller(person)
        target = f"switches/{switch}"
        warrant = Warrant(kind="request", id="run-attack", operation=TURN, target=target)
        proposed = await self._workers[0].propose(
            caller,
            [Intention(operation=TURN, arguments={"switch": switch}, warrant=warrant)],
            decided_by="person",
            executor="agents",
            title=f"Turn {switch}",
        )
        assert proposed.approval_id is not None, proposed.reason
        async with self._doors.control.unit_of_work() as session:
            return await autonomy.get_approval(session, caller, proposed.approval_id)

    async def answer(
        self, question: ApprovalView, decision: Literal["approve", "deny"], person: str = "ada"
    ) -> None:
        """Decide *question* as *person* would."""
        async with self._doors.control.unit_of_work() as session:
            await autonomy.decide(
                session,
                self._doors.caller(person),
                question.id,
                decision=decision,
                digest=question.digest,
                clock=self._clock,
                config=self._config,
            )

    async def expired(self) -> ApprovalView:
        """A question whose time is over, before anybody has marked it so."""
        question = await self.ask()
        await self._write(
            "UPDATE approval SET expires_at = now() - interval '1 minute' WHERE id = :id",
            question.id,
        )
        return question

    async def verified(self, person: str = "ada") -> str:
        """Id of an action that was done and helped."""
        question = await self.ask(person)
        await self.answer(question, "approve", person)
        await self._workers[0].drive(question.actions[0].id)
        return question.actions[0].id

    async def stuck(self, person: str = "ada") -> str:
        """Id of an action that was interrupted so that nobody can tell whether it happened."""
        question = await self.ask(person)
        await self.answer(question, "approve", person)
        action = question.actions[0].id
        await self._write("UPDATE action SET state = 'stuck' WHERE id = :id", action)
        await self._write("UPDATE permit SET consumed_at = now() WHERE action_id = :id", action)
        return action

    async def undo_asked(self) -> ApprovalView:
        """A question whether to undo a verified action."""
        action = await self.verified()
        async with self._doors.control.unit_of_work() as session:
            return await autonomy.ask_undo(
                session,
                self._doors.caller("ada"),
                action,
                clock=self._clock,
                config=self._config,
            )

    async def drive(self) -> int:
        """Let both workers do, at once, whatever was permitted; effects there were meanwhile."""
        before = self.effects
        for _ in range(ROUNDS):
            if not await self._workers[0].ready("agents"):
                break
            await asyncio.gather(*(self._work(worker) for worker in self._workers))
        return self.effects - before

    async def _work(self, worker: Gatekeeping) -> None:
        for action, purpose in await worker.ready("agents"):
            try:
                await worker.drive(action, purpose)
            except CapabilityError:
                continue  # the other worker has it, which is what locks and permits are for

    async def settle(self) -> None:
        """Close what is open, so that nothing later is refused for there being too much of it."""
        await self._write("UPDATE approval SET state = 'withdrawn' WHERE state = 'pending'")
        await self._write(
            "UPDATE action SET state = 'withdrawn' WHERE state IN ('asked', 'permitted')"
        )
        await self._write("UPDATE action SET state = 'escalated' WHERE state = 'stuck'")
        await self._write("UPDATE api_key SET revoked_at = now() WHERE revoked_at IS NULL")

    async def _write(self, statement: str, identity: str = "") -> None:
        async with self._doors.control.unit_of_work() as session:
            await session.execute(text(statement), {"id": identity} if identity else {})
