"""Units of work and tenants' pools on a real server."""

import pytest
from sqlalchemy import func, select, text

from memory.database import Database, Databases
from memory.tables.identity import Person
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID


def person(clock: FakeClock, name: str = "Ada") -> Person:
    return Person(
        id=f"per-{name}",
        email=None,
        name=name,
        password_hash=None,
        operator=False,
        created_at=clock.now(),
    )


async def test_a_unit_of_work_commits_at_its_end(control_db: Database, clock: FakeClock) -> None:
    async with control_db.unit_of_work() as session:
        session.add(person(clock))
    async with control_db.unit_of_work() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 1


async def test_an_error_inside_leaves_nothing_behind(
    control_db: Database, clock: FakeClock
) -> None:
    async def fail_half_way() -> None:
        async with control_db.unit_of_work() as session:
            session.add(person(clock))
            await session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_half_way()
    async with control_db.unit_of_work() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 0


async def test_the_first_tenant_has_a_database_of_its_own(
    databases: Databases, tenant_db: Database
) -> None:
    async with tenant_db.unit_of_work() as session:
        assert await session.scalar(text("SELECT count(*) FROM thread")) == 0
        assert await session.scalar(text("SELECT to_regclass('person')")) is None
    assert await databases.tenant(TENANT_ID) is tenant_db
    assert tenant_db.name != databases.control.name
