"""Driving an action: each end, and a process that dies at any step of the way."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.fakes.clock import FakeClock
from tests.fakes.notebook import Deaths, Notebook, Noted
from tests.fakes.turning import (
    Crash,
    Dials,
    PressButton,
    TurnArguments,
    TurnDial,
    no_infrastructure,
)
from tools.kit.drive import Driver
from tools.kit.errors import Conflict, NotFound, Unavailable
from tools.kit.ledger import Purpose
from tools.kit.locks import held, is_held
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


class Bench:
    """A world, a notebook and drivers of fresh processes over both."""

    def __init__(self, locks: Path, *, button: bool = False, dies_at: int | None = None) -> None:
        self.locks = locks
        self.world = Dials()
        self.deaths = Deaths(dies_at)
        kind = MortalButton if button else Mortal
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

    def driver(self) -> Driver:
        """One as a fresh process has it; its pauses take no time."""
        elapsed = [0.0]

        async def pause(seconds: float) -> None:
            elapsed[0] += seconds

        context = OperationContext(infrastructure=no_infrastructure(), clock=FakeClock())
        return Driver(
            ledger=self.notebook,
            operations={self.operation.name: self.operation},
            context=context,
            locks=self.locks,
            pause=pause,
            timer=lambda: elapsed[0],
        )

    async def drive(self, purpose: Purpose = "apply") -> str:
        return (await self.driver().drive(KEY, purpose)).state


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench whose process doesn't die."""
    return Bench(tmp_path / "locks")


async def test_the_plain_way_is_intent_effect_check(bench: Bench) -> None:
    assert await bench.drive() == "verified"
    assert bench.notebook.history == ["intended", "applied", "verified"]


async def test_a_check_is_repeated_until_it_holds(bench: Bench) -> None:
    bench.world.helps_from = 4

    assert await bench.drive() == "verified"
    assert bench.world.verifications == 4


async def test_what_did_not_help_is_undone(bench: Bench) -> None:
    bench.world.helps = False

    assert await bench.drive() == "undone"
    assert bench.notebook.history == ["intended", "applied", "not_helped", "undoing", "undone"]
    assert bench.world.dials["a"] == 0
    assert bench.world.verifications == 11


async def test_what_did_not_help_and_has_no_undo_calls_a_person(tmp_path: Path) -> None:
    bench = Bench(tmp_path, button=True)
    bench.world.helps = False

    assert await bench.drive() == "escalated"
    assert "nothing to undo" in bench.note
    assert bench.world.undone.total() == 0


async def test_an_undo_that_fails_calls_a_person(bench: Bench) -> None:
    bench.world.helps = False
    bench.world.undo_works = False

    assert await bench.drive() == "escalated"
    assert bench.note == "The dial doesn't turn back."


async def test_a_check_that_could_not_be_made_is_no_success(bench: Bench) -> None:
    bench.world.verify_raises = True

    assert await bench.drive() == "undone"


@pytest.mark.parametrize(
    ("raises", "observes", "ends", "said"),
    [
        ("before", None, "failed", "The effect did not happen: the dial is stuck."),
        ("after", None, "verified", ""),
        ("after", "unknown", "stuck", "can't be told from the world (lost contact)"),
    ],
)
async def test_an_effect_that_raised_is_looked_for_in_the_world(
    bench: Bench, raises: Any, observes: Any, ends: str, said: str
) -> None:
    bench.world.apply_raises, bench.world.observes = raises, observes

    assert await bench.drive() == ends
    assert said in bench.note
    assert bench.world.applied == {KEY: 1}


async def test_a_changed_state_stops_before_the_intent(bench: Bench) -> None:
    bench.world.dials["a"] = 3

    assert await bench.drive() == "withdrawn"
    assert bench.notebook.permits == {(KEY, "apply")}
    assert bench.note == "The dial moved to 3 meanwhile."
    assert bench.world.applied.total() == 0


async def test_a_state_that_cannot_be_looked_at_now_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*_: Any) -> Check:
        raise Unavailable("The supervisor doesn't answer.")

    monkeypatch.setattr(bench.operation, "precondition", unreachable)

    with pytest.raises(Unavailable):
        await bench.drive()
    assert bench.state == "permitted"
    assert bench.notebook.permits == {(KEY, "apply")}


async def test_without_a_permit_nothing_happens(bench: Bench) -> None:
    bench.notebook.permits.clear()

    with pytest.raises(Conflict, match="no permit"):
        await bench.drive()
    with pytest.raises(NotFound):
        await bench.driver().drive("act-unknown")
    assert bench.world.applied.total() == 0


async def test_a_verified_action_is_undone_under_its_own_permit(bench: Bench) -> None:
    await bench.drive()
    with pytest.raises(Conflict, match="no permit to undo"):
        await bench.drive("undo")
    bench.notebook.permits.add((KEY, "undo"))

    assert await bench.drive("undo") == "undone"
    assert await bench.drive("undo") == "undone"
    assert bench.world.undone == {KEY: 1}


async def test_a_target_in_other_hands_is_left_alone(bench: Bench) -> None:
    with held(bench.locks, "dials/a"):
        with pytest.raises(Conflict, match="acting on dials/a"):
            await bench.drive()
        assert await bench.driver().recover("agents") == []

    assert bench.state == "permitted"
    assert await bench.drive() == "verified"
    assert not is_held(bench.locks, "dials/a")


async def test_a_cancelled_effect_is_settled_from_the_world_later(bench: Bench) -> None:
    begun = asyncio.Event()
    apply = bench.operation.apply

    async def slow(*given: Any) -> dict[str, Any]:
        effect = await apply(*given)
        begun.set()
        await asyncio.Event().wait()
        return effect

    bench.operation.apply = slow  # type: ignore[method-assign]
    task = asyncio.create_task(bench.drive())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert bench.state == "intended"
    assert [a.state for a in await bench.driver().recover("agents")] == ["verified"]
    assert bench.world.applied == {KEY: 1}


async def test_an_operation_this_release_lacks_calls_a_person(bench: Bench) -> None:
    async def gone(*_: Any) -> dict[str, Any]:
        raise Crash

    bench.operation.apply = gone  # type: ignore[method-assign]
    with pytest.raises(Crash):
        await bench.drive()
    driver = bench.driver()
    without = Driver(
        ledger=driver.ledger, operations={}, context=driver.context, locks=driver.locks
    )

    assert [a.state for a in await without.recover("agents")] == ["stuck"]
    assert "This release has no operation" in bench.note


async def test_arguments_an_operation_no_longer_takes_withdraw(bench: Bench) -> None:
    class Other(BaseModel):
        lever: str

    bench.operation.arguments = Other  # type: ignore[assignment]

    assert await bench.drive() == "withdrawn"
    assert "doesn't take the arguments" in bench.note


ENDS = {"verified", "failed", "undone", "stuck", "escalated", "withdrawn"}

worlds = st.fixed_dictionaries(
    {
        "button": st.booleans(),
        "helps": st.booleans(),
        "undo_works": st.booleans(),
        "apply_raises": st.sampled_from(["", "before", "after"]),
        "observes": st.sampled_from([None, None, None, "unknown"]),
        "verify_raises": st.booleans(),
        "moved": st.booleans(),
        "asked_undo": st.booleans(),
    }
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(world=worlds, deaths=st.lists(st.integers(1, 30), max_size=6))
async def test_whatever_dies_whenever_no_effect_and_no_undo_happens_twice(
    tmp_path: Path, world: dict[str, Any], deaths: list[int]
) -> None:
    """Every process may die at any step; the last one lives, and finds an end for the action."""
    bench = Bench(tmp_path / "locks", button=world["button"])
    for name in ("helps", "undo_works", "apply_raises", "observes", "verify_raises"):
        setattr(bench.world, name, world[name])
    if world["moved"]:
        bench.world.dials["a"] = 5
    for death in [*deaths, None]:
        bench.deaths.at, bench.deaths.steps = death, 0
        try:
            await bench.driver().recover("agents")
            await bench.driver().drive(KEY)
            if world["asked_undo"] and not world["button"] and bench.state == "verified":
                if bench.notebook.history.count("undoing") == 0:
                    bench.notebook.permits.add((KEY, "undo"))
                await bench.driver().drive(KEY, "undo")
        except Crash:
            continue

    assert bench.state in ENDS
    assert bench.world.applied[KEY] <= 1
    assert bench.world.undone[KEY] <= 1
    assert bench.world.applied[KEY] <= bench.notebook.history.count("intended") <= 1
    if bench.state == "undone":
        assert bench.world.dials["a"] == 0
    if bench.state == "verified":
        assert bench.world.dials["a"] == 1
    if bench.state in {"failed", "withdrawn"}:
        assert bench.world.dials["a"] in (0, 5)


@pytest.mark.parametrize("helps", [True, False])
async def test_a_death_at_each_single_step_ends_well(tmp_path: Path, helps: bool) -> None:
    """The steps one by one, so that none is left to chance."""
    reached = 0
    for step in range(1, 40):
        bench = Bench(tmp_path / "locks", dies_at=step)
        bench.world.helps = helps
        try:
            await bench.drive()
        except Crash:
            reached += 1
        bench.deaths.at = None
        await bench.driver().recover("agents")
        ended = await bench.drive()

        assert bench.world.applied[KEY] <= 1
        assert bench.world.undone[KEY] <= 1
        if helps:
            # A death between intent and effect must not be made good by a second try.
            assert ended == ("verified" if bench.world.applied[KEY] else "failed")
        else:
            assert ended in {"undone", "failed", "escalated"}
    assert reached >= 11
