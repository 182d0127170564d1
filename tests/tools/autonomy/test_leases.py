"""Leases of driven actions in the real database: two executors that share no lock files."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.fakes.clock import FakeClock
from tests.fakes.gatekeeping import Desk, by_request
from tests.fakes.turning import Crash
from tools.autonomy.gatekeeper import Gatekeeping
from tools.kit import leases
from tools.kit.errors import Conflict
from tools.kit.leases import LEASE, driving
from tools.kit.ledger import Superseded
from tools.kit.operation import Check


@pytest.fixture
def elsewhere(desk: Desk, tmp_path: Path) -> Gatekeeping:
    """A gatekeeper with a lock folder of its own, and a clock that is a day ahead."""
    clock = FakeClock()
    clock.advance(days=1)
    other = Desk(desk.database, clock, tmp_path / "other locks", desk.staff)
    other.world = desk.world
    return other.another()


async def lease(desk: Desk, action_id: str) -> tuple[str | None, timedelta | None]:
    """Who drives an action, and for how long yet by the database's clock."""
    query = "SELECT driver, lease_expires_at - clock_timestamp() FROM action WHERE id = :id"
    async with desk.database.unit_of_work() as session:
        row = (await session.execute(text(query), {"id": action_id})).one()
    return row[0], row[1]


async def run_out(desk: Desk, action_id: str) -> None:
    """The driver has said nothing for as long as its lease lasts."""
    change = (
        "UPDATE action SET lease_expires_at = clock_timestamp() - interval '1 ms' WHERE id = :id"
    )
    async with desk.database.unit_of_work() as session:
        await session.execute(text(change), {"id": action_id})


class Slow:
    """A gatekeeper's drive that waits between intent and effect."""

    def __init__(self, gatekeeper: Gatekeeping, action_id: str) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        operation = gatekeeper.driver.operations["testing.turn_dial"]
        self._apply: Callable[..., Awaitable[Any]] = operation.apply
        operation.apply = self._waits  # type: ignore[method-assign]
        self.task = asyncio.create_task(gatekeeper.drive(action_id))

    async def _waits(self, *given: Any) -> Any:
        self.begun.set()
        await self.go_on.wait()
        return await self._apply(*given)


async def test_what_somebody_is_doing_now_is_nobody_elses(
    desk: Desk, elsewhere: Gatekeeping
) -> None:
    (action_id,) = await desk.permitted()
    slow = Slow(desk.another(), action_id)
    await slow.begun.wait()
    holder, left = await lease(desk, action_id)
    assert holder
    assert left
    assert LEASE / 2 < left <= LEASE

    assert await elsewhere.recover("agents") == []
    assert await elsewhere.ready("agents") == []
    with pytest.raises(Conflict, match="Somebody is acting on dials/a"):
        await elsewhere.drive(action_id)
    assert await desk.states([action_id]) == ["intended"]

    slow.go_on.set()
    assert (await slow.task).state == "verified"
    assert desk.world.applied == {action_id: 1}
    assert await lease(desk, action_id) == (None, None)


async def test_a_driver_whose_lease_was_taken_writes_no_outcome(
    desk: Desk, elsewhere: Gatekeeping
) -> None:
    (action_id,) = await desk.permitted()
    slow = Slow(desk.another(), action_id)
    await slow.begun.wait()
    await run_out(desk, action_id)

    [settled] = await elsewhere.recover("agents")
    assert settled.state == "failed"
    slow.go_on.set()
    with pytest.raises(Superseded, match="it is failed; that it was to become applied"):
        await slow.task

    row = await desk.action(action_id)
    assert (row.state, row.effect) == ("failed", None)
    kinds = await desk.audit_kinds(action_id)
    assert kinds[-3:] == ["action.intended", "action.failed", "action.superseded"]


async def test_a_lease_that_ran_out_and_nobody_took_still_holds(desk: Desk) -> None:
    (action_id,) = await desk.permitted()
    slow = Slow(desk.another(), action_id)
    await slow.begun.wait()
    await run_out(desk, action_id)
    slow.go_on.set()

    assert (await slow.task).state == "verified"


async def test_the_dead_of_this_machine_are_followed_at_once_those_of_another_after_the_lease(
    desk: Desk, elsewhere: Gatekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here,) = await desk.permitted(by_request("a"))
    (there,) = await desk.permitted(by_request("b"))
    for action_id, machine in ((here, None), (there, "another machine")):
        mortal = desk.another()

        async def dies(*_: Any) -> Any:
            raise Crash

        mortal.driver.operations["testing.turn_dial"].apply = dies  # type: ignore[method-assign]
        with monkeypatch.context() as patched:
            if machine:
                patched.setattr(leases, "_machine", lambda: "another machine")
            with pytest.raises(Crash):
                await mortal.drive(action_id)

    assert [one.id for one in await elsewhere.recover("agents")] == [here]
    assert await elsewhere.recover("agents") == []
    assert await desk.states([here, there]) == ["failed", "intended"]
    await run_out(desk, there)
    assert await elsewhere.ready("agents") == [(there, "apply")]
    assert (await elsewhere.drive(there)).state == "failed"


async def test_renewing_goes_by_the_databases_clock(desk: Desk) -> None:
    (action_id,) = await desk.permitted()
    with driving() as holder:
        await desk.gatekeeper.begin(action_id, "apply", holder)
        await run_out(desk, action_id)
        desk.clock.advance(days=-400)
        await desk.gatekeeper.renew(action_id, holder)
        _, left = await lease(desk, action_id)
        assert left
        assert LEASE / 2 < left <= LEASE


async def test_only_its_holder_renews_and_records(desk: Desk) -> None:
    (action_id,) = await desk.permitted()
    with driving() as holder, driving() as stranger:
        await desk.gatekeeper.begin(action_id, "apply", holder)
        with pytest.raises(Superseded):
            await desk.gatekeeper.renew(action_id, stranger)
        with pytest.raises(Superseded):
            await desk.gatekeeper.record(
                action_id, "applied", holder=stranger, effect={}, check=Check(ok=True, text="!")
            )
        with pytest.raises(Conflict, match="Somebody is acting"):
            await desk.gatekeeper.take_over(action_id, stranger)
        assert (await desk.gatekeeper.record(action_id, "applied", holder=holder)).effect is None
        await desk.gatekeeper.record(action_id, "verified", holder=holder)
    with pytest.raises(Conflict, match="nothing of it is left"):
        await desk.gatekeeper.take_over(action_id, "anybody")


async def test_of_two_that_take_over_at_once_one_gets_it(
    desk: Desk, elsewhere: Gatekeeping
) -> None:
    (action_id,) = await desk.permitted()
    with driving() as dead:
        await desk.gatekeeper.begin(action_id, "apply", dead)
    with driving() as one, driving() as two:
        got = await asyncio.gather(
            desk.gatekeeper.take_over(action_id, one),
            elsewhere.take_over(action_id, two),
            return_exceptions=True,
        )
        assert sum(isinstance(each, Conflict) for each in got) == 1
        winner = two if isinstance(got[0], Conflict) else one
        assert (await lease(desk, action_id))[0] == winner
