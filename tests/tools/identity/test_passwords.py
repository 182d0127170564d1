"""Signing in by e-mail and password, and its rate limit, against a real database."""

import asyncio

import pytest
from sqlalchemy import func, select

from memory.database import Database
from memory.tables.identity import (
    Person,
    SignInFailure,
    TenantRecord,
)
from tests.fakes.clock import FakeClock
from tests.fakes.people import (
    PASSWORD,
    add_person,
    kinds,
    resolve,
    signed_in,
    try_sign_in,
)
from tools.identity import policy, service
from tools.identity.errors import (
    BadEmail,
    BadPassword,
    EmailTaken,
    SessionRefused,
    SignInFailed,
    TooManyAttempts,
)
from tools.kit.deps import Caller


async def test_e_mail_and_password_sign_in(
    control_db: Database, clock: FakeClock, with_password: Person
) -> None:
    person = await try_sign_in(control_db, clock, " ADA@example.org ", PASSWORD)

    assert person.id == with_password.id
    assert (await kinds(control_db))[-2:] == ["password.set", "signin.used"]
    async with control_db.unit_of_work() as session:
        stored = (await session.scalars(select(Person.password_hash))).one()
    assert stored is not None
    assert stored.startswith("$argon2id$")


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
async def test_five_wrong_passwords_on_one_e_mail_make_it_wait(
    control_db: Database, clock: FakeClock, with_password: Person, email: str
) -> None:
    for index in range(policy.FAILURES_MOST):
        with pytest.raises(SignInFailed):
            await try_sign_in(control_db, clock, email, "wrong", f"192.0.2.{index}")

    with pytest.raises(TooManyAttempts, match="15 minutes") as refusal:
        await try_sign_in(control_db, clock, email, PASSWORD, "192.0.2.99")

    assert refusal.value.details["retry_after"] == 15 * 60
    assert (await kinds(control_db)).count("signin.blocked") == 1
    clock.advance(minutes=15, seconds=1)
    if email == "ada@example.org":
        assert await try_sign_in(control_db, clock, email, PASSWORD)


async def test_five_wrong_passwords_from_one_network_make_it_wait(
    control_db: Database, clock: FakeClock, with_password: Person
) -> None:
    for index in range(policy.FAILURES_MOST):
        address = f"2001:db8::{index}"
        with pytest.raises(SignInFailed):
            await try_sign_in(control_db, clock, f"p{index}@example.org", "wrong", address)

    with pytest.raises(TooManyAttempts):
        await try_sign_in(control_db, clock, "ada@example.org", PASSWORD, "2001:db8::ffff")
    assert await try_sign_in(control_db, clock, "ada@example.org", PASSWORD, "2001:db8:0:1::1")


async def test_a_burst_of_guesses_is_counted_one_by_one(
    control_db: Database, clock: FakeClock, with_password: Person
) -> None:
    async def guess(index: int) -> str:
        try:
            await try_sign_in(control_db, clock, "ada@example.org", f"guess {index}")
        except (SignInFailed, TooManyAttempts) as error:
            return type(error).__name__
        return "in"

    outcomes = await asyncio.gather(*(guess(index) for index in range(9)))

    assert outcomes.count("SignInFailed") == policy.FAILURES_MOST
    assert outcomes.count("TooManyAttempts") == 9 - policy.FAILURES_MOST


async def test_failures_that_no_longer_count_are_forgotten(
    control_db: Database, clock: FakeClock, with_password: Person
) -> None:
    for _ in range(2):
        with pytest.raises(SignInFailed):
            await try_sign_in(control_db, clock, "ada@example.org", "wrong")
        clock.advance(minutes=20)

    async with control_db.unit_of_work() as session:
        assert await session.scalar(select(func.count()).select_from(SignInFailure)) == 2


async def test_a_password_needs_twelve_characters_and_an_e_mail_of_its_own(
    control_db: Database, clock: FakeClock, with_password: Person
) -> None:
    ben = await add_person(control_db, clock, "ben")
    caller = Caller(
        tenant_id="ten",
        tenant_slug="dynasty",
        person_id=ben.id,
        name="ben",
        roles=frozenset({"learner"}),
        fleet=False,
    )

    async with control_db.unit_of_work() as session:
        with pytest.raises(BadPassword, match="12 characters"):
            await service.set_password(session, caller, "b@example.org", "short", clock=clock)
        with pytest.raises(BadPassword, match="itself"):
            await service.set_password(
                session, caller, "ben@example.org", "Ben@example.org", clock=clock
            )
        with pytest.raises(BadEmail):
            await service.set_password(session, caller, "ben", PASSWORD, clock=clock)
        with pytest.raises(EmailTaken):
            await service.set_password(session, caller, "ADA@example.org", PASSWORD, clock=clock)
        await service.set_password(session, caller, "ben@example.org", PASSWORD, clock=clock)


async def test_a_new_password_ends_the_other_sessions(
    control_db: Database, clock: FakeClock, first: tuple[TenantRecord, Person]
) -> None:
    tenant, person = first
    lost, _ = await signed_in(control_db, clock, person, tenant.id)
    kept, _ = await signed_in(control_db, clock, person, tenant.id)
    caller = await resolve(control_db, clock, kept)

    async with control_db.unit_of_work() as session:
        await service.set_password(
            session, caller, "ada@example.org", PASSWORD, clock=clock, keep_session=kept
        )

    assert await resolve(control_db, clock, kept)
    with pytest.raises(SessionRefused):
        await resolve(control_db, clock, lost)
