"""A world, a ledger and drivers over both, in processes that may die at any step."""

from pathlib import Path
from typing import Any

from tests.fakes.clock import FakeClock
from tests.fakes.notebook import Deaths, Notebook, Noted
from tests.fakes.turning import (
    Dials,
    LoosenAndTurn,
    PressButton,
    TurnArguments,
    TurnDial,
    no_infrastructure,
)
from tools.kit.drive import Driver
from tools.kit.ledger import Purpose
from tools.kit.operation import Check, Observation, OperationContext, Plan

KEY = "act-1"


class Mortal(TurnDial):
    """Turns a dial in a process that may die before and after each of the six functions."""

    def __init__(self, world: Dials, deaths: Deaths) -> None:
        super().__init__(world)
        self.deaths = deaths

    async def precondition(
        self, context: OperationContext, arguments: TurnArguments, plan: Plan
    ) -> Check:
        self.deaths.step()
        return await super().precondition(context, arguments, plan)

    async def apply(
        self, context: OperationContext, arguments: TurnArguments, plan: Plan, key: str
    ) -> dict[str, Any]:
        effect = await super().apply(context, arguments, plan, key)
        self.deaths.step()
        return effect

    async def observe(
        self, context: OperationContext, arguments: TurnArguments, plan: Plan, key: str
    ) -> Observation:
        self.deaths.step()
        return await super().observe(context, arguments, plan, key)

    async def verify(
        self,
        context: OperationContext,
        arguments: TurnArguments,
        plan: Plan,
        effect: dict[str, Any],
    ) -> Check:
        self.deaths.step()
        return await super().verify(context, arguments, plan, effect)

    async def undo(
        self,
        context: OperationContext,
        arguments: TurnArguments,
        plan: Plan,
        effect: dict[str, Any],
        key: str,
    ) -> Check:
        check = await super().undo(context, arguments, plan, effect, key)
        self.deaths.step()
        return check


class MortalButton(Mortal, PressButton):
    """The same where nothing can be undone."""


class MortalPair(Mortal, LoosenAndTurn):
    """The same where the effect has two parts, with a death in between."""

    def between(self) -> None:
        self.deaths.step()


class Bench:
    """A world, a notebook and drivers of fresh processes over both."""

    def __init__(
        self, locks: Path, *, kind: type[Mortal] = Mortal, dies_at: int | None = None
    ) -> None:
        self.locks = locks
        self.world = Dials()
        self.deaths = Deaths(dies_at)
        self.operation = kind(self.world, self.deaths)
        plan = Plan(
            target="dials/a", summary="Turn a", diff=[], state={"value": 0}, region={"kind": "dial"}
        )
        action = Noted(KEY, self.operation.name, "dials/a", {"dial": "a", "to": 1}, plan)
        self.notebook = Notebook({KEY: action}, self.deaths, {(KEY, "apply")})

    @property
    def state(self) -> str:
        return self.notebook.pages[KEY].state

    @property
    def note(self) -> str:
        return self.notebook.pages[KEY].note

    def driver(self, locks: Path | None = None) -> Driver:
        """One as a fresh process has it; its pauses take no time.

        *locks* are those of another machine, where it is on one.
        """
        elapsed = [0.0]

        async def pause(seconds: float) -> None:
            elapsed[0] += seconds

        context = OperationContext(infrastructure=no_infrastructure(), clock=FakeClock())
        return Driver(
            ledger=self.notebook,
            operations={self.operation.name: self.operation},
            context=context,
            locks=locks or self.locks,
            pause=pause,
            timer=lambda: elapsed[0],
        )

    async def drive(self, purpose: Purpose = "apply") -> str:
        return (await self.driver().drive(KEY, purpose)).state
