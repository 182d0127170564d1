"""A runtime over real databases, the embedded model and a fleet in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from graphs.runtime import Runtime, open_runtime
from graphs.settings import Settings
from memory.database import Database, Databases
from memory.tables.identity import Membership, Person
from tests.fakes.clock import FakeClock
from tests.fakes.conversation import Conversation
from tests.fakes.remembered import WordMemory
from tests.fakes.small_fleet import SmallFleet
from tools.kit.deps import Caller
from tools.recall.service import RecallService


@pytest.fixture
async def fleet(clock: FakeClock) -> SmallFleet:
    return SmallFleet(clock)


@pytest.fixture
async def runtime(
    tmp_path: Path,
    control_url: str,
    databases: Databases,
    tenant_db: Database,
    fleet: SmallFleet,
    clock: FakeClock,
    staff: Caller,
) -> AsyncIterator[Runtime]:
    settings = Settings(home=tmp_path / "home", model_url=None, model_name=None)
    async with databases.control.unit_of_work() as session:
        session.add(
            Person(
                id=staff.person_id,
                email=None,
                name=staff.name,
                password_hash=None,
                operator=False,
                created_at=clock.now(),
            )
        )
        await session.flush()
        session.add(Membership(person_id=staff.person_id, tenant_id=staff.tenant_id, role="staff"))
    async with open_runtime(
        settings,
        databases=databases,
        infrastructure=fleet,
        clock=clock,
        memory=RecallService(WordMemory(), clock),
    ) as opened:
        yield opened


@pytest.fixture
async def talk(
    runtime: Runtime, tenant_db: Database, staff: Caller, fleet: SmallFleet, clock: FakeClock
) -> Conversation:
    await fleet.seen(runtime.services.control)
    return Conversation(runtime, tenant_db, staff, fleet, clock)
