"""Where the shots land: open doors, switches behind them, and pictures of every table."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
from sqlalchemy import delete, update

from evals.attacks.race_parts.changes import Changes, Rows, Snapshots, changes
from evals.attacks.race_parts.requests import Sender
from evals.attacks.race_parts.switches import Switches
from evals.worlds.doors import FLEET, REAL, Doors, Session, open_doors
from graphs import threads
from memory.ids import new_id
from memory.tables.autonomy import Freeze
from memory.tables.evidence import SuiteRun
from tools.adapters.fleet_file import read_fleet
from tools.autonomy import freezes, standing_approvals
from tools.autonomy.standing_repository import StandingRepository
from tools.catalogue import build_operations
from tools.identity import service as identity
from tools.kit.clock import SystemClock

EFFECT = "an effect"
"""Stands among the tables for what the workers did with what was permitted."""
PASSWORD = "four words make one"  # noqa: S105 - of people on a throw-away database


@dataclass
class Place:
    """What scenarios prepare their requests in."""

    doors: Doors
    switches: Switches
    snapshots: Snapshots
    sender: Sender
    sessions: dict[str, Session]
    """One standing session a person; what ends sessions makes its own."""

    async def own_session(self, person: str) -> Session:
        """A session that may be ended."""
        return await self.doors.session(person)

    async def thread(self, person: str) -> str:
        """Id of an empty conversation of *person*."""
        caller = self.doors.caller(person)
        database = await self.doors.databases.tenant(caller.tenant_id)
        async with database.unit_of_work() as session:
            return (await threads.create_thread(session, caller, clock=SystemClock())).id

    async def key(self, person: str) -> str:
        """Id of a live API key of *person*."""
        name = f"key {new_id('k')}"
        await self.doors.api_key(person, name)
        async with self.doors.control.unit_of_work() as session:
            held = await identity.list_keys(session, self.doors.caller(person))
        return next(key.id for key in held if key.name == name)

    async def link(self, person: str) -> str:
        """Token of a sign-in link of *person* that nobody has used."""
        async with self.doors.control.unit_of_work() as session:
            return await identity.issue_link(
                session, self.doors.people[person].id, clock=SystemClock()
            )

    async def password(self, person: str) -> str:
        """E-mail with which *person* signs in with `PASSWORD`."""
        email = f"{person}@example.org"
        async with self.doors.control.unit_of_work() as session:
            await identity.set_password(
                session, self.doors.caller(person), email, PASSWORD, clock=SystemClock()
            )
        return email

    async def in_advance(self, person: str, operation: str, target: str) -> str:
        """Id of the only approval in advance that stands, given by *person*."""
        await self.nothing_in_advance()
        async with self.doors.control.unit_of_work() as session:
            given = await standing_approvals.give(
                session,
                self.doors.caller(person),
                operation,
                target,
                days=3,
                reason="nights",
                operations=build_operations(archive_folder=self.doors.home / "archive"),
                fleet=read_fleet(FLEET, self.doors.home, {}),
                clock=SystemClock(),
            )
        return given.id

    async def nothing_in_advance(self) -> None:
        """Whatever is approved in advance is revoked."""
        clock = SystemClock()
        async with self.doors.control.unit_of_work() as session:
            for row in await StandingRepository(session).active(clock.now()):
                row.revoked_at, row.revoked_by = clock.now(), row.person_id

    async def freeze(self, operation: str, *, frozen: bool) -> None:
        """Let *operation* be frozen, or not."""
        async with self.doors.control.unit_of_work() as session:
            await session.execute(delete(Freeze))
            if frozen:
                caller = self.doors.caller("bert")
                await freezes.freeze(
                    session,
                    freezes.ordered(caller, operation, reason="Exams.", clock=SystemClock()),
                )

    async def run(self, suite: str) -> str:
        """Id of a run of *suite* that waits."""
        async with self.doors.control.unit_of_work() as session:
            row = SuiteRun(
                id=new_id("evl"),
                suite=suite,
                digest="",
                options={"quick": True},
                state="queued",
                progress={},
                requested_by="person:per-ada",
                created_at=SystemClock().now(),
                note="",
            )
            session.add(row)
        return row.id

    async def no_runs(self) -> None:
        """Let every run of a suite be stopped."""
        async with self.doors.control.unit_of_work() as session:
            await session.execute(
                update(SuiteRun).where(SuiteRun.state == "queued").values(state="stopped")
            )

    async def before(self) -> Rows:
        """Every row, to be compared with later."""
        return await self.snapshots.take()

    async def since(self, before: Rows) -> Changes:
        """What changed since *before*, and what the workers then did with it."""
        found = changes(before, await self.snapshots.take())
        if effects := await self.switches.drive():
            found[EFFECT] = effects
        await self.switches.settle()
        return found


@asynccontextmanager
async def open_place(
    *, module: Sequence[str] = REAL, control_url: str | None = None
) -> AsyncIterator[Place]:
    """Doors of *module* with two replicas, and everything the scenarios need behind them."""
    async with open_doors(module=module, control_url=control_url) as doors:
        limits = httpx2.Limits(max_connections=100)
        tenants = [await doors.databases.tenant(tenant) for tenant in doors.tenants.values()]
        switches = Switches(doors)
        try:
            forgetful = CookieJar(DefaultCookiePolicy(allowed_domains=()))
            async with httpx2.AsyncClient(
                trust_env=False, limits=limits, cookies=forgetful
            ) as client:
                yield Place(
                    doors=doors,
                    switches=switches,
                    snapshots=Snapshots([doors.control, *tenants]),
                    sender=Sender(doors, client),
                    sessions={person: await doors.session(person) for person in doors.people},
                )
        finally:
            await switches.aclose()
