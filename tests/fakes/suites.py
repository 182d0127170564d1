"""A suite whose worlds live in memory: a lamp that must burn, in as many worlds as wanted."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.evaluators.cost import cost
from evals.evaluators.end_state import end_state
from evals.evaluators.trajectory import trajectory
from evals.evaluators.words import words
from evals.suites.base import Case, Played, Step, Suite, World

OPERATION = "healing.restart_replica"
REGION = {"kind": "replica", "adapter": "local", "replicas": 2}


def lamp_case(name: str = "dark-lamp", **changes: Any) -> Case:
    """A case of the lamp: dark at first, and to be lit by one action."""
    fields: dict[str, Any] = {
        "name": name,
        "why": "A room that stays dark costs an evening.",
        "operations": (OPERATION,),
        "world": {"lit": False},
        "expects": {
            "end": {"lit": True},
            "actions": [{"operation": OPERATION, "target": "lamp"}],
            "cause": "blown fuse",
        },
    }
    return Case(**{**fields, **changes})


def lit_case(name: str = "quiet-lamp", **changes: Any) -> Case:
    """A case with nothing to do."""
    expects = {"end": {"lit": True}, "actions": []}
    return lamp_case(name, world={"lit": True}, expects=expects, **changes)


@dataclass
class Lamps:
    """Every lamp opened, and what may go wrong with them."""

    fails_on: set[str] = field(default_factory=set)
    """Cases in which the lamp is left dark."""
    breaks_on: set[str] = field(default_factory=set)
    """Cases in which the world itself breaks."""
    hold: asyncio.Event | None = None
    """Keeps every lamp waiting until it is set."""
    opened: int = 0
    closed: int = 0
    played: list[tuple[str, int]] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0

    async def open(self, folder: Path, number: int) -> World:
        self.opened += 1
        return Lamp(self)


class Lamp:
    """One lamp: a `World`."""

    def __init__(self, lamps: Lamps) -> None:
        self._lamps = lamps

    async def play(self, case: Case, seed: int) -> Played:
        lamps = self._lamps
        lamps.played.append((case.name, seed))
        lamps.at_once += 1
        lamps.most_at_once = max(lamps.most_at_once, lamps.at_once)
        try:
            if lamps.hold is not None:
                await lamps.hold.wait()
            await asyncio.sleep(0)
            if case.name in lamps.breaks_on:
                raise RuntimeError("the ceiling came down")
        finally:
            lamps.at_once -= 1
        watts = random.Random(seed).randint(20, 100)
        lit = case.world["lit"]
        acted = not lit and case.name not in lamps.fails_on
        steps = [Step(at=0, kind="world", text=f"A lamp of {watts} W, {'lit' if lit else 'dark'}.")]
        if acted:
            steps.append(Step(at=0.2, kind="effect", text="The fuse is changed.", data={"n": 1}))
        return Played(
            end={"lit": lit or acted, "cause": "blown fuse"},
            trajectory=tuple(steps),
            regions={OPERATION: REGION} if acted else {},
            detected_s=None if lit else 0.1,
            recovered_s=0.3 if acted else None,
            actions=(
                ({"operation": OPERATION, "target": "lamp", "state": "verified"},) if acted else ()
            ),
            cost={"seconds": 0.3, "model_calls": 0},
            environment="local, up to 10 replicas",
        )

    async def close(self) -> None:
        self._lamps.closed += 1


async def nobody(world: World, case: Case, seed: int) -> Played:
    """The control: nobody changes the fuse."""
    return Played(end={"lit": case.world["lit"], "cause": None}, cost={"seconds": 0.0})


def lamp_suite(lamps: Lamps, cases: Sequence[Case] | None = None) -> Suite:
    """The suite `lamps`."""
    return Suite(
        name="lamps",
        summary="A lamp that must burn.",
        cases=tuple(cases or (lamp_case(), lit_case())),
        operations=(OPERATION,),
        tags={},
        open_world=lamps.open,
        evaluators=(end_state, trajectory, words, cost),
        version_files=(Path(__file__),),
        controls={"nobody": nobody},
    )
