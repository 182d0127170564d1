"""Signing in is one step: what lets somebody in is used up only when they are in."""

from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from memory.database import Database
from memory.errors import StoreUnavailable
from memory.tables.autonomy import AuditEntry
from memory.tables.identity import Person, SessionRecord
from server.auth import COOKIE
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.people import PASSWORD, add_person, add_tenant
from tools.identity import service as identity
from tools.identity.passwords import hash_password


@pytest.fixture
async def link(control_db: Database, tenant_db: Database, clock: FakeClock) -> str:
    """A one-time link of Ada's; she also has a password."""
    person = await add_person(control_db, clock, "ada", **{TENANT_ID: "staff"})
    hashed = await hash_password(PASSWORD)
    async with control_db.unit_of_work() as session:
        row = await session.get_one(Person, person.id)
        row.email, row.password_hash = "ada@example.org", hashed
        return await identity.issue_link(session, person.id, clock=clock)


async def counted(control: Database) -> tuple[int, int]:
    """Sessions, and rows of the audit log that say somebody came in."""
    async with control.unit_of_work() as session:
        sessions = await session.scalar(select(func.count()).select_from(SessionRecord))
        came = await session.scalar(
            select(func.count()).where(AuditEntry.kind.in_(["signin.used", "session.opened"]))
        )
    return sessions or 0, came or 0


async def test_a_link_is_not_used_up_where_no_session_could_be_opened(
    anyone: httpx2.AsyncClient, control_db: Database, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise StoreUnavailable("busy")

    with monkeypatch.context() as patched:
        patched.setattr(identity, "open_session", broken)
        assert (await anyone.post(f"/signin/{link}")).status_code == 503
    assert await counted(control_db) == (0, 0)

    answer = await anyone.post(f"/signin/{link}")

    assert answer.status_code == 303
    assert COOKIE in answer.cookies


async def test_nobody_is_recorded_as_signed_in_who_was_not_let_in(
    anyone: httpx2.AsyncClient, control_db: Database, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise StoreUnavailable("busy")

    form = {"email": "ada@example.org", "password": PASSWORD}
    with monkeypatch.context() as patched:
        patched.setattr(identity, "open_session", broken)
        assert (await anyone.post("/signin", data=form)).status_code == 503
    assert await counted(control_db) == (0, 0)

    assert (await anyone.post("/signin", data=form)).status_code == 303
    assert await counted(control_db) == (1, 2)


async def test_who_is_no_member_here_is_told_so_on_the_form(
    anyone: httpx2.AsyncClient, control_db: Database, tenant_db: Database, clock: FakeClock
) -> None:
    await add_tenant(control_db, clock, "other")
    person = await add_person(control_db, clock, "eve", ten_other="staff")
    async with control_db.unit_of_work() as session:
        token = await identity.issue_link(session, person.id, clock=clock)

    answer = await anyone.post(f"/signin/{token}")

    assert answer.status_code == 403
    assert "not a member" in answer.text
