"""People, tenants and sessions for tests of who may do what."""

from datetime import timedelta

from sqlalchemy import select

from memory.database import Database
from memory.tables.autonomy import AuditEntry
from memory.tables.identity import Membership, Person, TenantRecord
from tests.fakes.clock import FakeClock
from tools.identity import service
from tools.kit.deps import Caller

PASSWORD = "four words make one"
HERE = "localhost"


async def add_person(control: Database, clock: FakeClock, name: str, **roles: str) -> Person:
    """A person with one role per tenant id."""
    person = Person(
        id=f"per-{name}",
        email=None,
        name=name,
        password_hash=None,
        operator=False,
        created_at=clock.now(),
    )
    async with control.unit_of_work() as session:
        session.add(person)
        await session.flush()
        for tenant_id, role in roles.items():
            session.add(Membership(person_id=person.id, tenant_id=tenant_id, role=role))
    return person


async def add_tenant(control: Database, clock: FakeClock, slug: str) -> TenantRecord:
    """A second tenant, younger than the first."""
    tenant = TenantRecord(
        id=f"ten_{slug}",
        slug=slug,
        name=slug.title(),
        database=f"none_{slug}",
        server_url=None,
        theme={},
        fleet=False,
        created_at=clock.now() + timedelta(days=1),
    )
    async with control.unit_of_work() as session:
        session.add(tenant)
    return tenant


async def signed_in(
    control: Database, clock: FakeClock, person: Person, tenant_id: str
) -> tuple[str, str]:
    async with control.unit_of_work() as session:
        return await service.open_session(session, person, tenant_id, clock)


async def resolve(control: Database, clock: FakeClock, token: str, host: str = HERE) -> Caller:
    async with control.unit_of_work() as session:
        caller, _, _ = await service.resolve_session(session, token, host, clock)
        return caller


async def try_sign_in(
    control: Database, clock: FakeClock, email: str, password: str, address: str = "192.0.2.7"
) -> Person:
    async with control.unit_of_work() as session:
        return await service.sign_in(session, email, password, address, clock)


async def kinds(control: Database) -> list[str]:
    async with control.unit_of_work() as session:
        return list(await session.scalars(select(AuditEntry.kind).order_by(AuditEntry.seq)))
