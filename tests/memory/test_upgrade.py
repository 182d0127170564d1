"""Upgrading every database: at once, after a crash, and what a release refuses."""

import asyncio
import time

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from memory import leases, provision, upgrade_lease
from memory import upgrade as upgrading
from memory.database import Database, Databases, read_url
from memory.embedded_postgres import EmbeddedPostgres
from memory.errors import SchemaMismatch, StoreError, StoreUnavailable
from memory.families import FAMILIES, Family
from memory.tables.identity import TenantRecord
from memory.upgrade import status, upgrade
from tests.fakes.clock import FakeClock


@pytest.fixture
async def fresh_url(postgres: EmbeddedPostgres, control_url: str) -> str:
    """URL of a control database that doesn't exist yet; dropped with those of `control_url`."""
    base = provision.base_name(read_url(control_url).database or "")
    return postgres.url(f"{base}_fresh_control")


async def set_revision(url: str, revision: str) -> None:
    database = Database(url, pool_size=1)
    async with database.unit_of_work() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    await database.dispose()


async def go_back(database: Database, family: Family, revision: str) -> None:
    """Take back the revisions after *revision*."""

    def run(connection: Connection) -> None:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(family.folder).replace("%", "%%"))
        command.downgrade(config, revision)

    async with database.unit_of_work() as session:
        await (await session.connection()).run_sync(run)


async def names_on_server(url: str) -> set[str]:
    async with provision.connection_beside(read_url(url)) as server:
        found = await server.execute("SELECT datname FROM pg_database")
        return {name for (name,) in await found.fetchall()}


async def test_an_empty_server_gets_control_template_and_the_first_tenants_database(
    fresh_url: str,
) -> None:
    lines = await upgrade(fresh_url)
    control = read_url(fresh_url).database or ""

    assert {
        control,
        provision.template_name(control),
        provision.tenant_database_name(control, "dynasty"),
    } <= await names_on_server(fresh_url)
    assert any("procrastinate" in line for line in lines)
    assert [(entry.ok, entry.note) for entry in await status(fresh_url)] == [(True, "")] * 2


async def test_a_second_upgrade_has_nothing_to_do_and_is_quick(fresh_url: str) -> None:
    await upgrade(fresh_url)
    began = time.monotonic()

    assert await upgrade(fresh_url) == []
    assert time.monotonic() - began < 2


async def test_two_upgraders_at_once_do_the_work_once(fresh_url: str) -> None:
    lines = await asyncio.gather(*(upgrade(fresh_url) for _ in range(3)))

    done = [line for one in lines for line in one]
    assert len(done) == len(set(done))
    assert all(entry.ok for entry in await status(fresh_url))


async def test_an_upgrader_waits_for_a_lease_and_a_dead_ones_runs_out(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await provision.ensure_control_database(fresh_url)
    control = Database(fresh_url, pool_size=1)
    await upgrade_lease.ensure_lease_table(control)
    async with control.unit_of_work() as session:
        now = await upgrade_lease.server_now(session)
        await leases.acquire(session, upgrade_lease.LEASE, "dead", seconds=1.5, now=now)
    await control.dispose()
    began = time.monotonic()

    monkeypatch.setattr(upgrade_lease, "WAIT_SECONDS", 0.3)
    with pytest.raises(StoreUnavailable, match="Another upgrade"):
        await upgrade(fresh_url)
    monkeypatch.setattr(upgrade_lease, "WAIT_SECONDS", 30)
    assert await upgrade(fresh_url)
    assert time.monotonic() - began >= 1.5


async def test_a_database_newer_than_the_range_is_refused_before_anything_changes(
    fresh_url: str,
) -> None:
    await upgrade(fresh_url)
    await set_revision(fresh_url, "0100")
    before = await names_on_server(fresh_url)

    with pytest.raises(SchemaMismatch) as refusal:
        await upgrade(fresh_url)

    message = str(refusal.value)
    assert read_url(fresh_url).database in message
    assert "revision 0100" in message
    assert f"{FAMILIES['control'].lowest:04d} to 0099" in message
    assert "restore a backup" in message
    assert await names_on_server(fresh_url) == before
    assert not (await status(fresh_url))[0].ok


async def test_a_tenant_database_newer_than_the_range_is_refused_by_name(
    databases: Databases, tenant_db: Database
) -> None:
    await set_revision(tenant_db.url, "0250")

    with pytest.raises(SchemaMismatch, match=tenant_db.name):
        await upgrade(databases.control.url)


async def test_a_newer_revision_inside_the_range_is_run_on_and_left_alone(fresh_url: str) -> None:
    await upgrade(fresh_url)
    await set_revision(fresh_url, "0099")

    assert await upgrade(fresh_url) == []
    assert (await status(fresh_url))[0].ok


async def test_a_revision_that_is_not_the_academys_is_refused(fresh_url: str) -> None:
    await upgrade(fresh_url)
    await set_revision(fresh_url, "ae1027a6acf")

    with pytest.raises(SchemaMismatch, match="isn't one of the academy's"):
        await upgrade(fresh_url)


async def test_a_database_with_somebody_elses_tables_is_not_taken_over(fresh_url: str) -> None:
    await provision.ensure_control_database(fresh_url)
    database = Database(fresh_url, pool_size=1)
    async with database.unit_of_work() as session:
        await session.execute(text("CREATE TABLE invoices (id int)"))
    await database.dispose()

    with pytest.raises(StoreError, match=r"aren't the academy's \(invoices\)"):
        await upgrade(fresh_url)


async def test_a_missing_tenant_database_is_reported_and_the_rest_goes_on(
    databases: Databases, tenant_db: Database, clock: FakeClock
) -> None:
    async with databases.control.unit_of_work() as session:
        session.add(
            TenantRecord(
                id="ten-lost",
                slug="lost",
                name="Lost",
                database=f"{tenant_db.name}_lost",
                server_url=None,
                theme={},
                fleet=False,
                created_at=clock.now(),
            )
        )
    await go_back(tenant_db, FAMILIES["tenant"], "0001")
    assert not {entry.name: entry for entry in await status(databases.control.url)}[
        tenant_db.name
    ].ok

    lines = await upgrade(databases.control.url)
    found = {entry.name: entry for entry in await status(databases.control.url)}

    assert any("tenant lost: NOT UPGRADED" in line for line in lines)
    assert found[tenant_db.name].ok
    lost = found[f"{tenant_db.name}_lost"]
    assert not lost.ok
    assert "does not exist" in lost.note


async def test_status_of_an_academy_that_was_never_started(fresh_url: str) -> None:
    (entry,) = await status(fresh_url)

    assert (entry.revision, entry.ok) == (None, False)
    assert "academy db upgrade" in entry.note


@pytest.mark.parametrize("name", sorted(FAMILIES))
async def test_revisions_make_exactly_the_tables_the_code_declares(
    control_db: Database, tenant_db: Database, name: str
) -> None:
    """A table changed without a revision, or the other way round, shows here."""
    family = FAMILIES[name]

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"include_name": family.includes, "compare_type": True}
        )
        return list(compare_metadata(context, list(family.metadata)))

    database = control_db if name == "control" else tenant_db
    async with database.unit_of_work() as session:
        found = await (await session.connection()).run_sync(differences)

    assert found == [], "write a revision: python -m memory.revisions MESSAGE"


@pytest.mark.parametrize(("name", "before"), [("control", "0003"), ("tenant", "0001")])
async def test_leases_of_actions_can_be_taken_back_and_made_again(
    control_db: Database, tenant_db: Database, name: str, before: str
) -> None:
    database = control_db if name == "control" else tenant_db

    async def columns() -> set[str]:
        async with database.unit_of_work() as session:
            found = await session.scalars(
                text("SELECT column_name FROM information_schema.columns WHERE table_name='action'")
            )
            return {"driver", "lease_expires_at"} & set(found)

    await go_back(database, FAMILIES[name], before)
    assert await columns() == set()
    await upgrade(control_db.url)
    assert await columns() == {"driver", "lease_expires_at"}


async def test_an_interrupted_revision_leaves_the_database_as_it_was(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = upgrading._run_revisions

    def fail_after(connection: Connection, family: Family) -> None:
        real(connection, family)
        raise InterruptedError

    monkeypatch.setattr(upgrading, "_run_revisions", fail_after)
    with pytest.raises(InterruptedError):
        await upgrade(fresh_url)
    monkeypatch.setattr(upgrading, "_run_revisions", real)

    assert (await status(fresh_url))[0].revision is None
    assert await upgrade(fresh_url)
    assert all(entry.ok for entry in await status(fresh_url))


async def test_an_upgrade_that_died_before_the_first_tenants_database_is_finished_by_the_next(
    fresh_url: str,
) -> None:
    await upgrade(fresh_url)
    name = provision.tenant_database_name(read_url(fresh_url).database or "", "dynasty")
    async with provision.connection(read_url(fresh_url)) as server:
        await provision.drop(server, name)

    lines = await upgrade(fresh_url)

    assert [line for line in lines if line.startswith(name)]
    assert name in await names_on_server(fresh_url)


async def test_procrastinate_takes_a_job_from_its_tables(control_db: Database) -> None:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=control_db.plain_url))
    seen: list[int] = []

    @app.task(name="note")
    async def note(number: int) -> None:
        seen.append(number)

    async with app.open_async():
        await note.defer_async(number=7)
        await app.run_worker_async(wait=False, install_signal_handlers=False)

    assert seen == [7]


def test_every_release_runs_on_its_own_newest_revision() -> None:
    for family in FAMILIES.values():
        assert family.lowest <= family.head <= family.highest
        numbers = sorted(
            int(path.name[:4]) for path in (family.folder / "versions").glob("[0-9]*.py")
        )
        assert numbers == sorted(set(numbers))
