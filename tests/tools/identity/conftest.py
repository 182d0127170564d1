"""The first academy and its operator."""

import pytest

from memory.database import Database
from memory.tables.identity import Person, TenantRecord
from tests.fakes.clock import FakeClock
from tests.fakes.people import PASSWORD, resolve, signed_in
from tools.identity import service


@pytest.fixture
async def first(control_db: Database, clock: FakeClock) -> tuple[TenantRecord, Person]:
    """The first academy and its operator."""
    async with control_db.unit_of_work() as session:
        return await service.ensure_first_academy(session, clock)


@pytest.fixture
async def with_password(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> Person:
    """The operator, who signs in with ada@example.org."""
    tenant, person = first
    token, _ = await signed_in(control_db, clock, person, tenant.id)
    caller = await resolve(control_db, clock, token)
    async with control_db.unit_of_work() as session:
        await service.set_password(session, caller, "Ada@Example.org", PASSWORD, clock=clock)
    return person
