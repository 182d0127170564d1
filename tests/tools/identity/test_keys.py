"""API keys for programs, against a real database."""

import asyncio

import pytest
from sqlalchemy import select, text

from memory.database import Database
from memory.tables.autonomy import AuditEntry
from memory.tables.identity import ApiKey, Membership, Person, TenantRecord
from tests.fakes.clock import FakeClock
from tools.identity import policy, service
from tools.identity.errors import KeyRefused, TooManyKeys, UnknownKey
from tools.kit.deps import Caller, Role
from tools.kit.errors import Forbidden, Invalid

HERE = "127.0.0.1:8400"


def caller_for(tenant: TenantRecord, person_id: str, *roles: Role) -> Caller:
    return Caller(
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        person_id=person_id,
        name="somebody",
        roles=frozenset(roles),
        fleet=tenant.fleet,
    )


@pytest.fixture
async def operator(control_db: Database, clock: FakeClock) -> Caller:
    """The first academy's operator."""
    async with control_db.unit_of_work() as session:
        tenant, person = await service.ensure_first_academy(session, clock)
    return caller_for(tenant, person.id, "operator", "staff")


@pytest.fixture
async def author(control_db: Database, clock: FakeClock, operator: Caller) -> Caller:
    """An author of the first academy."""
    async with control_db.unit_of_work() as session:
        tenant = (await session.scalars(select(TenantRecord))).one()
        session.add(
            Person(
                id="per-author",
                email=None,
                name="Grace",
                password_hash=None,
                operator=False,
                created_at=clock.now(),
            )
        )
        await session.flush()
        session.add(Membership(person_id="per-author", tenant_id=tenant.id, role="author"))
    return caller_for(tenant, "per-author", "author")


async def issue(
    control: Database, clock: FakeClock, caller: Caller, days: int | None = None
) -> str:
    async with control.unit_of_work() as session:
        return await service.issue_key(session, caller, " nightly  report ", days=days, clock=clock)


async def resolve(control: Database, clock: FakeClock, token: str, host: str = HERE) -> Caller:
    async with control.unit_of_work() as session:
        return await service.resolve_key(session, token, host, clock)


async def last_use(control: Database) -> object:
    async with control.unit_of_work() as session:
        return (await session.scalars(select(ApiKey.last_used_at))).one()


async def test_a_key_is_shown_once_and_stored_as_a_digest(
    control_db: Database, clock: FakeClock, operator: Caller
) -> None:
    token = await issue(control_db, clock, operator)
    caller = await resolve(control_db, clock, token)
    async with control_db.unit_of_work() as session:
        stored = (await session.scalars(select(ApiKey.token_hash))).one()
        audited = (await session.scalars(select(AuditEntry))).all()
        (view,) = await service.list_keys(session, operator)

    assert token.startswith("dak_")
    assert token not in stored
    assert caller.via == "key"
    assert caller.roles == {"operator", "staff"}
    assert view.name == "nightly report"
    assert audited[-1].kind == "key.issued"
    assert all(token not in str(entry.body) for entry in audited)


async def test_the_last_use_is_written_at_most_once_a_minute(
    control_db: Database, clock: FakeClock, operator: Caller
) -> None:
    token = await issue(control_db, clock, operator)
    await resolve(control_db, clock, token)
    at_first = await last_use(control_db)
    clock.advance(seconds=59)
    await resolve(control_db, clock, token)

    assert await last_use(control_db) == at_first
    clock.advance(seconds=1)
    await resolve(control_db, clock, token)
    assert await last_use(control_db) == clock.now()


async def test_a_key_is_worth_what_its_person_may_do_now(
    control_db: Database, clock: FakeClock, author: Caller
) -> None:
    token = await issue(control_db, clock, author)
    assert (await resolve(control_db, clock, token)).roles == {"author"}

    async with control_db.unit_of_work() as session:
        await session.execute(text("DELETE FROM membership WHERE person_id = 'per-author'"))

    with pytest.raises(KeyRefused, match="no longer a member"):
        await resolve(control_db, clock, token)


async def test_an_expired_a_revoked_and_a_made_up_key_open_nothing(
    control_db: Database, clock: FakeClock, operator: Caller
) -> None:
    expiring = await issue(control_db, clock, operator, days=1)
    revoked = await issue(control_db, clock, operator)
    async with control_db.unit_of_work() as session:
        newest = (await service.list_keys(session, operator))[0]
        keys = {key.id: key for key in await service.list_keys(session, operator)}
        endless = next(key for key in keys.values() if key.expires_at is None)
        await service.revoke_key(session, operator, endless.id, clock=clock)
        await service.revoke_key(session, operator, endless.id, clock=clock)
    assert newest.id in keys

    clock.advance(days=1)
    for token, why in [
        (expiring, "expired"),
        (revoked, "revoked"),
        ("dak_made-up", "not one of ours"),
        ("something", "begins with dak_"),
    ]:
        with pytest.raises(KeyRefused, match=why):
            await resolve(control_db, clock, token)


async def test_a_key_opens_its_own_academy_only(
    control_db: Database, clock: FakeClock, operator: Caller
) -> None:
    token = await issue(control_db, clock, operator)

    assert await resolve(control_db, clock, token, "dynasty.localhost")
    for host in ("northwind.localhost", "academy.example"):
        with pytest.raises(KeyRefused, match="another academy"):
            await resolve(control_db, clock, token, host)


async def test_a_learner_makes_no_key_and_an_authors_key_makes_no_other(
    control_db: Database, clock: FakeClock, author: Caller
) -> None:
    token = await issue(control_db, clock, author)
    by_key = await resolve(control_db, clock, token)

    with pytest.raises(Forbidden, match="only an operator's key"):
        await issue(control_db, clock, by_key)
    learner = Caller(
        tenant_id=author.tenant_id,
        tenant_slug="dynasty",
        person_id=author.person_id,
        name="Grace",
        roles=frozenset({"learner"}),
        fleet=True,
    )
    with pytest.raises(Forbidden, match="for staff"):
        await issue(control_db, clock, learner)
    with pytest.raises(Invalid, match="Name what"):
        async with control_db.unit_of_work() as session:
            await service.issue_key(session, author, "  ", clock=clock)


async def test_nobody_revokes_somebody_elses_key_but_an_operator(
    control_db: Database, clock: FakeClock, operator: Caller, author: Caller
) -> None:
    await issue(control_db, clock, operator)
    token = await issue(control_db, clock, author)
    async with control_db.unit_of_work() as session:
        (operators,) = await service.list_keys(session, operator)
        (authors,) = await service.list_keys(session, author)

        with pytest.raises(UnknownKey):
            await service.revoke_key(session, author, operators.id, clock=clock)
        with pytest.raises(UnknownKey):
            await service.revoke_key(session, operator, "key-none", clock=clock)
        await service.revoke_key(session, operator, authors.id, clock=clock)

    with pytest.raises(KeyRefused, match="revoked"):
        await resolve(control_db, clock, token)


async def test_the_number_of_live_keys_is_bounded_even_in_a_burst(
    control_db: Database, clock: FakeClock, operator: Caller
) -> None:
    async def try_issue() -> bool:
        try:
            await issue(control_db, clock, operator)
        except TooManyKeys:
            return False
        return True

    made = await asyncio.gather(*(try_issue() for _ in range(policy.KEYS_MOST + 5)))

    assert sum(made) == policy.KEYS_MOST
