"""Leases: one holder at a time, and a fence that only grows."""

import asyncio

import pytest
from sqlalchemy import select, text

from memory import leases
from memory.database import Database
from memory.errors import LeaseLost
from memory.tables.leases import Lease
from tests.fakes.clock import FakeClock

NAME = "thread:t1"


async def acquire(database: Database, clock: FakeClock, owner: str) -> int | None:
    async with database.unit_of_work() as session:
        return await leases.acquire(session, NAME, owner, seconds=10, now=clock.now())


async def check(database: Database, owner: str, fence: int) -> None:
    async with database.unit_of_work() as session:
        await leases.check(session, NAME, owner, fence)


async def renew(database: Database, clock: FakeClock, owner: str, fence: int) -> None:
    async with database.unit_of_work() as session:
        await leases.renew(session, NAME, owner, fence, seconds=10, now=clock.now())


async def test_a_held_lease_is_given_to_nobody_else(control_db: Database, clock: FakeClock) -> None:
    assert await acquire(control_db, clock, "a") == 1

    assert await acquire(control_db, clock, "b") is None
    assert await acquire(control_db, clock, "a") is None


async def test_a_lease_that_ran_out_is_taken_over_under_a_higher_fence(
    control_db: Database, clock: FakeClock
) -> None:
    first = await acquire(control_db, clock, "a")
    clock.advance(seconds=10)
    second = await acquire(control_db, clock, "b")

    assert (first, second) == (1, 2)
    await check(control_db, "b", 2)
    with pytest.raises(LeaseLost, match="a no longer holds"):
        await check(control_db, "a", 1)
    with pytest.raises(LeaseLost):
        await renew(control_db, clock, "a", 1)


async def test_renewing_keeps_others_out(control_db: Database, clock: FakeClock) -> None:
    fence = await acquire(control_db, clock, "a")
    assert fence is not None
    for _ in range(3):
        clock.advance(seconds=9)
        await renew(control_db, clock, "a", fence)

    assert await acquire(control_db, clock, "b") is None


async def test_a_lease_that_ran_out_unnoticed_can_be_renewed(
    control_db: Database, clock: FakeClock
) -> None:
    fence = await acquire(control_db, clock, "a")
    assert fence is not None
    clock.advance(minutes=5)

    await renew(control_db, clock, "a", fence)

    assert await acquire(control_db, clock, "b") is None


async def test_the_fence_grows_over_releases_too(control_db: Database, clock: FakeClock) -> None:
    for expected in (1, 2, 3):
        fence = await acquire(control_db, clock, "a")
        assert fence == expected
        async with control_db.unit_of_work() as session:
            await leases.release(session, NAME, "a", fence, now=clock.now())
        with pytest.raises(LeaseLost):
            await check(control_db, "a", fence)


async def test_releasing_what_somebody_else_took_changes_nothing(
    control_db: Database, clock: FakeClock
) -> None:
    await acquire(control_db, clock, "a")
    clock.advance(seconds=11)
    await acquire(control_db, clock, "b")
    async with control_db.unit_of_work() as session:
        await leases.release(session, NAME, "a", 1, now=clock.now())

    await check(control_db, "b", 2)


async def test_of_many_who_ask_at_once_one_gets_it(control_db: Database, clock: FakeClock) -> None:
    fences = await asyncio.gather(*(acquire(control_db, clock, f"w{i}") for i in range(8)))

    assert sorted(fence for fence in fences if fence is not None) == [1]


async def test_a_takeover_waits_for_a_writer_that_has_checked(
    control_db: Database, clock: FakeClock
) -> None:
    fence = await acquire(control_db, clock, "a")
    assert fence is not None
    clock.advance(seconds=11)
    async with control_db.unit_of_work() as session:
        await leases.check(session, NAME, "a", fence)
        takeover = asyncio.create_task(acquire(control_db, clock, "b"))
        await _until_somebody_waits(control_db)
        assert not takeover.done()

    assert await takeover == 2
    async with control_db.unit_of_work() as session:
        owners = await session.scalars(select(Lease.owner).where(Lease.name == NAME))
        assert owners.one() == "b"


async def _until_somebody_waits(database: Database) -> None:
    """Poll until a session of this database waits for a lock."""
    async with asyncio.timeout(10):
        while True:
            async with database.unit_of_work() as session:
                waiting = await session.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                        " AND datname = current_database()"
                    )
                )
            if waiting:
                return
            await asyncio.sleep(0.01)
