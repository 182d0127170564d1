"""A small world of dials and the operation that turns one: what driving is tested on."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from tools.kit.errors import NotFound
from tools.kit.infrastructure import Infrastructure
from tools.kit.operation import (
    Check,
    Observation,
    Operation,
    OperationContext,
    Plan,
    Reversibility,
    Risk,
)


class Crash(BaseException):
    """The process dies here: nothing after it runs, no handler sees it."""


class TurnArguments(BaseModel):
    """Which dial, and to what."""

    dial: str
    to: int = 1


@dataclass
class Dials:
    """The world: dials by name, who turned them, and how it misbehaves."""

    dials: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0, "c": 0})
    turned_by: dict[str, str] = field(default_factory=dict)
    applied: Counter[str] = field(default_factory=Counter)
    """Calls of `apply`, by key."""
    turned: Counter[str] = field(default_factory=Counter)
    loosened: Counter[str] = field(default_factory=Counter)
    undone: Counter[str] = field(default_factory=Counter)
    helps: bool = True
    undo_works: bool = True
    apply_raises: Literal["", "before", "after"] = ""
    observes: Observation | None = None
    verify_raises: bool = False
    verifications: int = 0
    helps_from: int = 1
    """The check holds from this verification on."""


class TurnDial(Operation[TurnArguments]):
    """Turn a dial; `apply` counts every call, so that a second one shows."""

    name = "testing.turn_dial"
    title = "Turn a dial"
    arguments = TurnArguments
    risk: Risk = "low"  # type: ignore[misc]
    reversibility: Reversibility = "exact"  # type: ignore[misc]
    verify_within = timedelta(seconds=5)
    called_for_by = frozenset({"hung"})

    def __init__(self, world: Dials) -> None:
        self.world = world

    async def plan(self, context: OperationContext, arguments: TurnArguments) -> Plan:
        if arguments.dial not in self.world.dials:
            raise NotFound(f"There is no dial {arguments.dial}.")
        value = self.world.dials[arguments.dial]
        return Plan(
            target=f"dials/{arguments.dial}",
            summary=f"Turn dial {arguments.dial} from {value} to {arguments.to}",
            diff=[f"- {value}", f"+ {arguments.to}"],
            state={"value": value},
            region={"kind": "dial"},
        )

    async def precondition(
        self, context: OperationContext, arguments: TurnArguments, plan: Plan
    ) -> Check:
        value = self.world.dials[arguments.dial]
        if value != plan.state["value"]:
            return Check(ok=False, text=f"The dial moved to {value} meanwhile.")
        return Check(ok=True, text="The dial is where it was.")

    async def apply(
        self, context: OperationContext, arguments: TurnArguments, plan: Plan, key: str
    ) -> dict[str, Any]:
        self.world.applied[key] += 1
        if self.world.apply_raises == "before":
            raise RuntimeError("the dial is stuck")
        self.world.dials[arguments.dial] = arguments.to
        self.world.turned[key] += 1
        self.world.turned_by[arguments.dial] = key
        if self.world.apply_raises == "after":
            raise RuntimeError("lost contact")
        return {"was": plan.state["value"]}

    async def observe(
        self, context: OperationContext, arguments: TurnArguments, plan: Plan, key: str
    ) -> Observation:
        if self.world.observes is not None:
            return self.world.observes
        return "done" if self.world.turned_by.get(arguments.dial) == key else "not_done"

    async def verify(
        self,
        context: OperationContext,
        arguments: TurnArguments,
        plan: Plan,
        effect: dict[str, Any],
    ) -> Check:
        self.world.verifications += 1
        if self.world.verify_raises:
            raise RuntimeError("no view of the dial")
        ok = self.world.helps and self.world.verifications >= self.world.helps_from
        value = self.world.dials[arguments.dial]
        return Check(ok=ok, text=f"The dial shows {value}.", measured={"value": value})

    async def undo(
        self,
        context: OperationContext,
        arguments: TurnArguments,
        plan: Plan,
        effect: dict[str, Any],
        key: str,
    ) -> Check:
        self.world.undone[key] += 1
        if not self.world.undo_works:
            return Check(ok=False, text="The dial doesn't turn back.")
        self.world.dials[arguments.dial] = plan.state["value"]
        self.world.turned_by.pop(arguments.dial, None)
        return Check(ok=True, text=f"The dial is back at {plan.state['value']}.")


class PressButton(TurnDial):
    """The same effect where nothing can be undone."""

    name = "testing.press_button"
    title = "Press a button"
    reversibility: Reversibility = "nothing_to_undo"  # type: ignore[misc]


class LoosenAndTurn(TurnDial):
    """An effect of two parts, which a death in between leaves half done."""

    name = "testing.loosen_and_turn"
    title = "Loosen a dial and turn it"

    def between(self) -> None:
        """Between the two parts."""

    async def apply(
        self, context: OperationContext, arguments: TurnArguments, plan: Plan, key: str
    ) -> dict[str, Any]:
        if not self.world.loosened[key]:
            self.world.loosened[key] += 1
        self.between()
        return await super().apply(context, arguments, plan, key)

    async def observe(
        self, context: OperationContext, arguments: TurnArguments, plan: Plan, key: str
    ) -> Observation:
        found = await super().observe(context, arguments, plan, key)
        undone = self.world.undone[key]
        return "half_done" if found == "not_done" and self.world.loosened[key] > undone else found


class NoInfrastructure:
    """Stands where a context needs an infrastructure that the operation never asks."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


def no_infrastructure() -> Infrastructure:
    """An infrastructure nobody may ask."""
    return NoInfrastructure()  # type: ignore[return-value]
