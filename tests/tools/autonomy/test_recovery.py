"""A process dies at any step over the real ledger; the next one settles what it left, once."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from memory import audit
from memory.audit_heads import new_key_pair
from memory.errors import StoreUnavailable
from tests.fakes.gatekeeping import Desk
from tests.fakes.turning import Crash
from tools.kit.errors import Conflict

LEDGER = ("read", "begin", "record")
WORLD = ("precondition", "apply", "verify", "undo")


def dies_at(desk: Desk, step: int) -> tuple[Any, list[str]]:
    """A gatekeeper whose process dies at *step*; each call has a step before it and one after."""
    mortal = desk.another()
    steps: list[str] = []

    def counted(name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def wrapped(*given: Any, **more: Any) -> Any:
            steps.append(f"before {name}")
            if len(steps) == step:
                raise Crash
            answer = await call(*given, **more)
            steps.append(f"after {name}")
            if len(steps) == step:
                raise Crash
            return answer

        return wrapped

    for name in LEDGER:
        setattr(mortal, name, counted(name, getattr(mortal, name)))
    operation = mortal.driver.operations["testing.turn_dial"]
    for name in WORLD:
        setattr(operation, name, counted(name, getattr(operation, name)))
    return mortal, steps


@pytest.mark.parametrize("helps", [True, False])
async def test_a_death_at_each_step_leaves_an_end_and_one_effect_at_most(
    desk: Desk, helps: bool, tmp_path: Any
) -> None:
    desk.world.helps = helps
    ends: dict[str, str] = {}
    step, died = 0, True
    while died:
        step += 1
        desk.world.dials["a"] = 0
        (action_id,) = await desk.permitted()
        mortal, steps = dies_at(desk, step)
        try:
            await mortal.drive(action_id)
            died = False
        except Crash:
            died = True
        fresh = desk.another()
        await fresh.recover("agents")
        ended = await fresh.drive(action_id)
        ends[steps[min(step, len(steps)) - 1] + f" ({step})"] = ended.state

        assert desk.world.applied[action_id] <= 1, steps
        assert desk.world.undone[action_id] <= 1, steps
        if helps:
            assert ended.state == ("verified" if desk.world.applied[action_id] else "failed")
        else:
            assert ended.state in {"undone", "failed", "escalated"}
        kinds = await desk.audit_kinds(action_id)
        assert kinds.count("action.intended") == 1
        assert kinds.count("action.applied") <= 1

    assert step > (14 if helps else 18), ends
    private, public = new_key_pair()
    heads = tmp_path / "heads.jsonl"
    async with desk.database.unit_of_work() as session:
        await audit.sign_head(session, private, heads, desk.clock.now())
        assert (await audit.verify(session, heads, public)).problem == ""


async def test_a_store_that_vanished_after_the_effect_is_caught_up_with_later(desk: Desk) -> None:
    (action_id,) = await desk.permitted()
    unlucky = desk.another()

    async def gone(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("The database can't be used now.")

    unlucky.record = gone  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable):
        await unlucky.drive(action_id)
    assert await desk.states([action_id]) == ["intended"]

    assert await desk.gatekeeper.ready("agents") == [(action_id, "apply")]
    assert (await desk.gatekeeper.drive(action_id)).state == "verified"
    assert desk.world.applied == {action_id: 1}


async def test_recovery_is_of_one_executor(desk: Desk) -> None:
    (action_id,) = await desk.permitted(executor="healer")
    desk.world.apply_raises = "after"
    mortal, _ = dies_at(desk, 8)
    with pytest.raises(Crash):
        await mortal.drive(action_id)

    assert await desk.gatekeeper.recover("agents") == []
    assert [s.id for s in await desk.gatekeeper.recover("healer")] == [action_id]
    assert await desk.gatekeeper.recover("healer") == []


async def test_an_illegal_step_is_refused_and_leaves_no_trace(desk: Desk) -> None:
    (action_id,) = await desk.permitted()
    before = await desk.audit_kinds()

    for state in ("verified", "applied", "undone", "planned", "nonsense"):
        with pytest.raises(Conflict, match="can't become"):
            await desk.gatekeeper.record(action_id, state, holder="any", effect={"x": 1})

    row = await desk.action(action_id)
    assert (row.state, row.effect) == ("permitted", None)
    assert await desk.audit_kinds() == before
