"""Driving an action: each end, and a process that dies at any step of the way."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.fakes.driving import KEY, Bench, Mortal, MortalButton, MortalPair
from tests.fakes.turning import Crash
from tools.kit import leases
from tools.kit.drive import HALF_DONE, Driver
from tools.kit.errors import Conflict, NotFound, Unavailable
from tools.kit.locks import held, is_held
from tools.kit.operation import Check


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
    bench = Bench(tmp_path, kind=MortalButton)
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


async def test_what_a_death_left_half_done_is_completed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, kind=MortalPair)
    between, deaths = bench.operation, [1]

    def dies() -> None:
        if deaths:
            deaths.pop()
            raise Crash

    between.between = dies  # type: ignore[attr-defined]
    with pytest.raises(Crash):
        await bench.drive()
    assert bench.world.loosened == {KEY: 1}
    assert bench.world.turned == {}

    [settled] = await bench.driver().recover("agents")

    assert settled.state == "verified"
    assert settled.effect == {"was": 0, "completed_after": "the process that applied it ended"}
    assert bench.world.loosened == bench.world.turned == {KEY: 1}


async def test_what_cannot_be_completed_calls_a_person(tmp_path: Path) -> None:
    bench = Bench(tmp_path, kind=MortalPair)
    bench.world.apply_raises = "before"

    assert await bench.drive() == "stuck"
    assert bench.note == "It was done in part and can't be completed: the dial is stuck."
    assert bench.world.applied == {KEY: 2}, "tried once more, and not again"


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
    bench = Bench(tmp_path / "locks", kind=MortalButton if world["button"] else Mortal)
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


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    world=worlds,
    two_parts=st.booleans(),
    lives=st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=6),
)
async def test_executors_that_share_no_locks_settle_it_once_wherever_one_dies(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    world: dict[str, Any],
    two_parts: bool,
    lives: list[tuple[int, bool]],
) -> None:
    """Each life dies at a step, or not; the next is on the same machine or on another.

    From another machine nobody sees that a process died: it waits until the lease has run out.
    """
    bench = Bench(tmp_path, kind=MortalPair if two_parts else Mortal)
    for name in ("helps", "undo_works", "apply_raises", "observes", "verify_raises"):
        setattr(bench.world, name, world[name])
    machine = 0
    monkeypatch.setattr(leases, "_machine", lambda: f"machine-{machine}")
    for death, moves in [*lives, (None, True)]:
        bench.deaths.at = None
        machine += moves
        locks = tmp_path / f"locks-{machine}"
        if moves and bench.state in HALF_DONE and not bench.notebook.has_run_out(KEY):
            before = (bench.state, list(bench.notebook.history), vars(bench.world).copy())
            assert await bench.driver(locks).recover("agents") == []
            with pytest.raises(Conflict, match="Somebody is driving"):
                await bench.driver(locks).drive(KEY)
            assert (bench.state, bench.notebook.history, vars(bench.world)) == before
            bench.notebook.run_out_of(KEY)
        bench.deaths.at, bench.deaths.steps = death, 0
        try:
            await bench.driver(locks).recover("agents")
            await bench.driver(locks).drive(KEY)
            if world["asked_undo"] and bench.state == "verified":
                if bench.notebook.history.count("undoing") == 0:
                    bench.notebook.permits.add((KEY, "undo"))
                await bench.driver(locks).drive(KEY, "undo")
        except Crash:
            continue

    assert bench.state in ENDS
    assert max(bench.world.turned[KEY], bench.world.undone[KEY], bench.world.loosened[KEY]) <= 1
    assert bench.notebook.history.count("intended") <= 1
    if bench.state == "verified":
        assert bench.world.dials["a"] == 1
    if bench.state == "failed":
        assert not bench.world.loosened[KEY], "what was begun is completed, or a person is called"
    if bench.state in {"failed", "withdrawn", "undone"}:
        assert bench.world.dials["a"] == 0


@pytest.mark.parametrize("kind", [Mortal, MortalPair])
@pytest.mark.parametrize("helps", [True, False])
async def test_a_death_at_each_single_step_ends_well(
    tmp_path: Path, helps: bool, kind: type[Mortal]
) -> None:
    """The steps one by one, so that none is left to chance."""
    reached = 0
    for step in range(1, 40):
        bench = Bench(tmp_path / "locks", kind=kind, dies_at=step)
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
            begun = bench.world.applied[KEY] or bench.world.loosened[KEY]
            assert ended == ("verified" if begun else "failed")
        else:
            assert ended in {"undone", "failed", "escalated"}
    assert reached >= 11
