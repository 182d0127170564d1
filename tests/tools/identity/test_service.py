"""Signing in and being recognised, against a real database."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from memory.database import Database, Databases
from memory.tables.identity import (
    Person,
    SessionRecord,
    SignInLink,
    TenantRecord,
)
from memory.upgrade import upgrade
from tests.fakes.clock import FakeClock
from tests.fakes.people import (
    HERE,
    add_person,
    add_tenant,
    kinds,
    resolve,
    signed_in,
)
from tools.identity import service
from tools.identity.errors import (
    LinkRefused,
    SessionRefused,
    UnknownPerson,
)
from tools.kit.errors import Forbidden, Invalid


async def test_the_first_academy_is_made_once_with_a_database_that_is_there(
    control_url: str, databases: Databases, clock: FakeClock
) -> None:
    await upgrade(control_url)
    control = databases.control

    async def ensure() -> tuple[TenantRecord, Person]:
        async with control.unit_of_work() as session:
            return await service.ensure_first_academy(session, clock)

    (tenant, person), again = await asyncio.gather(ensure(), ensure())

    assert (tenant.slug, tenant.name, tenant.fleet) == ("dynasty", "Dynasty Academy", True)
    assert (again[0].id, person.operator) == (tenant.id, True)
    async with control.unit_of_work() as session:
        assert await session.scalar(select(func.count()).select_from(TenantRecord)) == 1
    tenant_database = await databases.tenant(tenant.id)
    async with tenant_database.unit_of_work() as session:
        assert await session.scalar(text("SELECT count(*) FROM checkpoints")) == 0


async def test_two_bootstraps_at_once_make_one_operator(
    control_db: Database, clock: FakeClock
) -> None:
    async def ensure() -> str:
        async with control_db.unit_of_work() as session:
            return (await service.ensure_first_academy(session, clock))[1].id

    ids = await asyncio.gather(*(ensure() for _ in range(6)))

    assert len(set(ids)) == 1
    assert await kinds(control_db) == ["tenant.created", "person.created"]


async def test_the_first_person_is_operator_and_staff(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, person = first

    token, csrf = await signed_in(control_db, clock, person, tenant.id)
    caller = await resolve(control_db, clock, token)

    assert caller.roles == {"operator", "staff"}
    assert caller.may_fleet
    assert len(csrf) >= 32
    assert caller.actor == f"person:{person.id}"


async def test_a_link_works_once(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    async with control_db.unit_of_work() as session:
        token = await service.issue_link(session, first[1].id, clock=clock)

    async with control_db.unit_of_work() as session:
        assert (await service.redeem_link(session, token, clock)).id == first[1].id
    with pytest.raises(LinkRefused, match="has been used"):
        async with control_db.unit_of_work() as session:
            await service.redeem_link(session, token, clock)


async def test_of_ten_racers_with_one_link_one_gets_in(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    async with control_db.unit_of_work() as session:
        token = await service.issue_link(session, first[1].id, clock=clock)

    async def race() -> bool:
        try:
            async with control_db.unit_of_work() as session:
                await service.redeem_link(session, token, clock)
        except LinkRefused:
            return False
        return True

    assert sum(await asyncio.gather(*(race() for _ in range(10)))) == 1
    assert (await kinds(control_db)).count("signin.used") == 1


async def test_a_link_is_stored_as_a_digest_and_expires_after_a_quarter_of_an_hour(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    async with control_db.unit_of_work() as session:
        token = await service.issue_link(session, first[1].id, clock=clock)
    async with control_db.unit_of_work() as session:
        stored = (await session.scalars(select(SignInLink.token_hash))).one()

    assert token not in stored
    assert len(stored) == 64
    clock.advance(minutes=15)
    with pytest.raises(LinkRefused, match="expired"):
        async with control_db.unit_of_work() as session:
            await service.redeem_link(session, token, clock)


async def test_a_link_nobody_issued_is_refused(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    with pytest.raises(LinkRefused, match="not one of ours"):
        async with control_db.unit_of_work() as session:
            await service.redeem_link(session, "made-up", clock)


async def test_only_an_operator_makes_links_for_others(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, operator = first
    ben = await add_person(control_db, clock, "ben", **{tenant.id: "staff"})
    token, _ = await signed_in(control_db, clock, ben, tenant.id)
    caller = await resolve(control_db, clock, token)

    async with control_db.unit_of_work() as session:
        assert await service.issue_link(session, ben.id, clock=clock, caller=caller)
        with pytest.raises(Forbidden):
            await service.issue_link(session, operator.id, clock=clock, caller=caller)
        with pytest.raises(UnknownPerson):
            await service.issue_link(session, "per-nobody", clock=clock)
        with pytest.raises(Invalid):
            await service.issue_link(session, ben.id, minutes=0, clock=clock)


async def test_a_session_ends_twelve_hours_after_its_last_use(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, person = first
    token, _ = await signed_in(control_db, clock, person, tenant.id)

    for _ in range(4):
        clock.advance(hours=11)
        await resolve(control_db, clock, token)
    clock.advance(hours=12)

    with pytest.raises(SessionRefused):
        await resolve(control_db, clock, token)


async def test_a_session_ends_after_thirty_days_however_busy(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, person = first
    token, _ = await signed_in(control_db, clock, person, tenant.id)
    end = clock.now() + timedelta(days=30)

    while clock.now() + timedelta(hours=10) < end:
        clock.advance(hours=10)
        await resolve(control_db, clock, token)
    clock.set(end)

    with pytest.raises(SessionRefused):
        await resolve(control_db, clock, token)


async def test_recognising_a_session_is_one_query_most_of_the_time(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, person = first
    token, _ = await signed_in(control_db, clock, person, tenant.id)

    async with control_db.unit_of_work() as session:
        for _ in range(20):
            clock.advance(minutes=2)
            await service.resolve_session(session, token, HERE, clock)
        writes = await session.scalar(
            text("SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'session'")
        )

    assert writes == 0


async def test_a_signed_out_session_opens_nothing(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, person = first
    token, _ = await signed_in(control_db, clock, person, tenant.id)
    caller = await resolve(control_db, clock, token)

    async with control_db.unit_of_work() as session:
        await service.close_session(session, caller, token, clock)

    with pytest.raises(SessionRefused):
        await resolve(control_db, clock, token)
    assert (await kinds(control_db))[-2:] == ["session.opened", "session.closed"]


async def test_the_cookie_itself_is_never_stored(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, person = first
    token, _ = await signed_in(control_db, clock, person, tenant.id)

    async with control_db.unit_of_work() as session:
        stored = (await session.scalars(select(SessionRecord.token_hash))).one()
        found = await service.tenant_for_host(session, HERE)

    assert stored != token
    assert found is not None
    assert found.id == tenant.id


async def test_a_session_of_one_academy_opens_no_other(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, person = first
    await add_tenant(control_db, clock, "northwind")
    token, _ = await signed_in(control_db, clock, person, tenant.id)

    assert await resolve(control_db, clock, token, "dynasty.localhost:8400")
    for host in ("northwind.localhost", "academy.example", "8.8.8.8"):
        with pytest.raises(SessionRefused, match="another academy"):
            await resolve(control_db, clock, token, host)


async def test_somebody_without_a_role_here_is_not_let_in(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, _ = first
    other = await add_tenant(control_db, clock, "northwind")
    ben = await add_person(control_db, clock, "ben", **{other.id: "staff"})

    with pytest.raises(Forbidden, match="not a member"):
        await signed_in(control_db, clock, ben, tenant.id)
    token, _ = await signed_in(control_db, clock, ben, other.id)
    caller = await resolve(control_db, clock, token, "northwind.localhost")

    assert caller.roles == {"staff"}
    assert not caller.may_fleet


async def test_a_role_taken_away_ends_the_session(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, _ = first
    ben = await add_person(control_db, clock, "ben", **{tenant.id: "learner"})
    token, _ = await signed_in(control_db, clock, ben, tenant.id)
    async with control_db.unit_of_work() as session:
        await session.execute(text("DELETE FROM membership WHERE person_id = 'per-ben'"))

    with pytest.raises(SessionRefused, match="no longer a member"):
        await resolve(control_db, clock, token)
