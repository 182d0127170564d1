"""Units of work and tenants' pools on a real server."""

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from sqlalchemy import func, select, text

from memory.database import Database, Databases, read_url
from memory.errors import StoreError, StoreUnavailable, WritesKept
from memory.tables.identity import Person, TenantRecord
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


async def test_a_look_reads_one_row_and_leaves_its_connection_fit_for_units_of_work(
    control_url: str, clock: FakeClock
) -> None:
    database = Database(control_url, pool_size=1)

    async def fail_half_way() -> None:
        async with database.unit_of_work() as session:
            session.add(person(clock))
            await session.flush()
            raise ZeroDivisionError

    try:
        row = await database.look(text("SELECT :n + 1 AS sum"), {"n": 2})
        with pytest.raises(ZeroDivisionError):
            await fail_half_way()
        left = await database.look(text("SELECT count(*) FROM person"), {})
    finally:
        await database.dispose()

    assert row.sum == 3
    assert left[0] == 0
    assert not database.busy


async def test_a_look_at_a_database_that_is_gone_is_unavailable() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none")

    with pytest.raises(StoreUnavailable):
        await nowhere.look(text("SELECT 1"), {})


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


async def test_an_unknown_tenant_is_refused(databases: Databases) -> None:
    with pytest.raises(StoreError, match="no tenant ten-none"):
        await databases.tenant("ten-none")


async def test_only_so_many_tenant_pools_stay_open_and_none_in_use_is_closed(
    control_url: str, tenant_db: Database, clock: FakeClock
) -> None:
    databases = Databases(control_url, tenants_kept=2)
    async with databases.control.unit_of_work() as session:
        for index in range(4):
            session.add(
                TenantRecord(
                    id=f"ten-{index}",
                    slug=f"t{index}",
                    name=f"T{index}",
                    database=tenant_db.name,
                    server_url=None,
                    theme={},
                    fleet=False,
                    created_at=clock.now(),
                )
            )
    first = await databases.tenant("ten-0")
    async with first.unit_of_work() as session:
        for index in (1, 2, 3):
            async with (await databases.tenant(f"ten-{index}")).unit_of_work() as other:
                assert await other.scalar(text("SELECT 1")) == 1
        assert await databases.tenant("ten-0") is first
        assert await session.scalar(text("SELECT 1")) == 1
        open_pools = await session.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    await databases.dispose()

    assert open_pools <= 2


async def test_what_must_stay_stays_though_an_error_is_raised(
    control_db: Database, clock: FakeClock
) -> None:
    class Counted(ValueError, WritesKept):
        pass

    async def count_and_refuse() -> None:
        async with control_db.unit_of_work() as session:
            session.add(person(clock))
            raise Counted

    with pytest.raises(Counted):
        await count_and_refuse()
    async with control_db.unit_of_work() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 1


async def test_a_database_that_is_gone_is_unavailable_and_its_password_is_not_shown(
    control_url: str,
) -> None:
    url = read_url(control_url).set(query={"host": "/tmp/nowhere"}, password="sesame")
    database = Database(url.render_as_string(hide_password=False))

    with pytest.raises(StoreUnavailable, match="on /tmp/nowhere") as refusal:
        await database.ping()

    assert "sesame" not in f"{refusal.value}{database!r}"


async def test_a_server_that_ends_our_session_is_unavailable_and_then_used_again(
    control_db: Database,
) -> None:
    async def be_ended() -> None:
        async with control_db.unit_of_work() as session:
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StoreUnavailable):
        await be_ended()
    await control_db.ping()


async def end_all_of(database: Database, ending: Database) -> None:
    async with ending.unit_of_work() as session:
        ended = await session.scalar(
            text(
                "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                " WHERE datname = :name AND pid <> pg_backend_pid()"
            ),
            {"name": database.name},
        )
    assert ended


@pytest.mark.parametrize("trusted", [0, 600])
async def test_an_idle_connection_that_the_server_closed_is_not_handed_out(
    control_db: Database, tenant_db: Database, monkeypatch: pytest.MonkeyPatch, trusted: float
) -> None:
    monkeypatch.setattr("memory.database.TRUSTED_SECONDS", trusted)
    async with control_db.unit_of_work() as one, control_db.unit_of_work() as two:
        await one.execute(text("SELECT 1"))
        await two.execute(text("SELECT 1"))
    await end_all_of(control_db, tenant_db)

    async with control_db.unit_of_work() as one, control_db.unit_of_work() as two:
        assert await one.scalar(text("SELECT 1")) == await two.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize(("trusted", "asked"), [(600, 0), (0, 2)])
async def test_a_connection_that_has_just_worked_is_not_asked_whether_it_lives(
    control_db: Database, monkeypatch: pytest.MonkeyPatch, trusted: float, asked: int
) -> None:
    monkeypatch.setattr("memory.database.TRUSTED_SECONDS", trusted)
    asking = []
    dialect = control_db._engine.dialect
    ask = dialect.do_ping
    monkeypatch.setattr(dialect, "do_ping", lambda found: asking.append(found) or ask(found))

    for _ in range(3):
        await control_db.look(text("SELECT 1"), {})

    assert len(asking) == asked


async def test_a_pool_that_stays_busy_is_unavailable_rather_than_a_hang(
    control_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.database.POOL_SECONDS", 0.1)
    database = Database(control_url, pool_size=1)
    async with database.unit_of_work() as one, database.unit_of_work() as two:
        await one.execute(text("SELECT 1"))
        await two.execute(text("SELECT 1"))
        with pytest.raises(StoreUnavailable, match="busy"):
            await database.ping()
    await database.dispose()


async def test_a_ping_that_nobody_waits_for_any_more_leaves_nothing_behind(
    control_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = asyncio.Event()

    async def answer_late() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        late.set()
        raise StoreUnavailable("It answered long after.")

    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: unheard.append(what))
    monkeypatch.setattr(control_db, "_ask", answer_late)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await control_db.ping(seconds=5.0)
    async with asyncio.timeout(2.0):
        await late.wait()
    await asyncio.sleep(0)
    gc.collect()

    assert unheard == []
