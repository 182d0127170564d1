"""Making and cloning databases, and what a wrong URL or a missing right is told."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlalchemy import URL, text

from memory import provision
from memory.database import Database, plain, read_url
from memory.embedded_postgres import EmbeddedPostgres
from memory.errors import StoreError, StoreUnavailable
from memory.upgrade import status, upgrade

SECRET = "not+for printing/é"


@pytest.fixture
async def roles(postgres: EmbeddedPostgres, control_url: str) -> AsyncIterator[dict[str, URL]]:
    """URLs of two ordinary users of an external server: one may create databases, one may not."""
    base = provision.base_name(read_url(control_url).database or "")
    admin = read_url(postgres.url("postgres"))
    urls = {}
    async with provision.connection(admin) as server:
        for right in ("CREATEDB", "NOCREATEDB"):
            name = f"{base}_{right.lower()}"
            password = psycopg.sql.Literal(SECRET).as_string(None)
            await server.execute(f'CREATE ROLE "{name}" LOGIN {right} PASSWORD {password}')
            urls[right] = admin.set(username=name, password=SECRET, database=f"{base}_outside")
    yield urls
    async with provision.connection(admin) as server:
        for name in (f"{base}_outside", f"{base}_outside_template"):
            await provision.drop(server, name)
        await provision.drop(server, f"{base}_outside_tenant_dynasty")
        for url in urls.values():
            await server.execute(f'DROP ROLE "{url.username}"')


def text_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def test_database_names_derive_from_the_control_databases() -> None:
    assert provision.template_name("academy_control") == "academy_template"
    assert provision.template_name("school") == "school_template"
    assert provision.tenant_database_name("school", "North-Wind") == "school_tenant_north_wind"
    long = provision.tenant_database_name("school", "x" * 80)
    assert len(long) <= provision.NAME_LIMIT
    assert long != provision.tenant_database_name("school", "x" * 81)


def test_an_url_survives_spaces_plus_signs_and_slashes() -> None:
    url = URL.create(
        "postgresql+psycopg",
        username="a b",
        password="p+q /r%@é",
        database="d b",
        query={"host": "/tmp/with space+plus", "port": "5432"},
    )

    assert psycopg.conninfo.conninfo_to_dict(plain(url)) == {
        "user": "a b",
        "password": "p+q /r%@é",
        "dbname": "d b",
        "host": "/tmp/with space+plus",
        "port": "5432",
    }
    assert plain(read_url("postgres://u:p@[::1]:5433/d")) == "postgresql://u:p@[::1]:5433/d"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://u:sesame@h/d", "only PostgreSQL is supported"),
        ("postgresql://u:sesame@h:5432", "names no database"),
        ("postgresql://u:sesame@h:port/d", "can't be read"),
        ("sesame", "can't be read"),
        ("", "can't be read"),
    ],
)
async def test_a_wrong_url_says_what_is_right_and_hides_the_password(url: str, why: str) -> None:
    with pytest.raises(StoreError, match=why) as refusal:
        await upgrade(url)

    assert "postgresql://user:password@host:port/database" in str(refusal.value)
    assert "sesame" not in str(refusal.value)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("127.0.0.1:1", "no server listens there"),
        ("no-such-host.invalid:5432", "host name is wrong"),
    ],
)
async def test_a_server_that_is_not_there_is_named(where: str, why: str) -> None:
    with pytest.raises(StoreUnavailable, match=why) as refusal:
        await upgrade(f"postgresql://academy:sesame@{where}/academy")

    assert f"academy on {where}" in str(refusal.value)
    assert "sesame" not in str(refusal.value)


async def test_a_wrong_password_is_said_without_saying_it(roles: dict[str, URL]) -> None:
    url = roles["CREATEDB"].set(password="wrong-sesame")

    with pytest.raises(StoreError, match="user name or the password is wrong") as refusal:
        await upgrade(text_of(url))

    assert not isinstance(refusal.value, StoreUnavailable), "waiting doesn't mend it"
    assert "wrong-sesame" not in str(refusal.value)


async def test_an_external_server_is_used_with_an_ordinary_users_rights(
    roles: dict[str, URL],
) -> None:
    url = text_of(roles["CREATEDB"])

    await upgrade(url)

    assert [entry.ok for entry in await status(url)] == [True, True]
    database = Database(url, pool_size=1)
    async with await psycopg.AsyncConnection.connect(database.plain_url) as connection:
        row = await (await connection.execute("SELECT current_user")).fetchone()
    await database.dispose()
    assert row == (roles["CREATEDB"].username,)


async def test_a_user_without_createdb_is_told_the_statement_that_helps(
    roles: dict[str, URL], postgres: EmbeddedPostgres
) -> None:
    url = roles["NOCREATEDB"]
    name = url.username

    with pytest.raises(StoreError, match=f'ALTER ROLE "{name}" CREATEDB') as refusal:
        await upgrade(text_of(url))
    assert SECRET not in str(refusal.value)

    async with provision.connection(read_url(postgres.url("postgres"))) as server:
        await provision.create(server, url.database or "")
    with pytest.raises(StoreError, match=f'OWNER TO "{name}"'):
        await upgrade(text_of(url))


async def test_a_clone_waits_for_the_last_session_to_leave_the_template(
    postgres: EmbeddedPostgres, control_url: str
) -> None:
    base = provision.base_name(read_url(control_url).database or "")
    source, copy = f"{base}_source", f"{base}_copy"
    async with provision.connection(read_url(control_url)) as server:
        await provision.create(server, source)
        busy = await psycopg.AsyncConnection.connect(plain(read_url(postgres.url(source))))
        cloning = asyncio.create_task(provision.create(server, copy, template=source))
        await asyncio.sleep(0)
        assert not cloning.done()
        await busy.close()

        assert await cloning
        assert not await provision.create(server, copy, template=source)


async def test_a_template_that_stays_in_use_is_named(
    postgres: EmbeddedPostgres, control_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "CLONE_SECONDS", 0.0)
    base = provision.base_name(read_url(control_url).database or "")
    async with provision.connection(read_url(control_url)) as server:
        await provision.create(server, f"{base}_source")
        busy = await psycopg.AsyncConnection.connect(
            plain(read_url(postgres.url(f"{base}_source")))
        )
        with pytest.raises(StoreError, match=f"stays connected to {base}_source"):
            await provision.create(server, f"{base}_copy", template=f"{base}_source")
        await busy.close()


async def test_a_tenant_database_is_a_clone_with_nothing_of_its_neighbours(
    control_url: str, tenant_db: Database
) -> None:
    await upgrade(control_url)
    control = read_url(control_url)
    name = provision.tenant_database_name(control.database or "", "northwind")
    async with tenant_db.unit_of_work() as session:
        await session.execute(
            text("INSERT INTO lease VALUES ('mine', 'dynasty', now(), 1)"),
        )

    assert await provision.create_tenant_database(control_url, name)
    assert not await provision.create_tenant_database(control_url, name)

    neighbour = Database(text_of(control.set(database=name)), pool_size=1)
    async with neighbour.unit_of_work() as session:
        assert await session.scalar(text("SELECT count(*) FROM lease")) == 0
        assert await session.scalar(text("SELECT count(*) FROM checkpoints")) == 0
    await neighbour.dispose()


async def test_cloning_without_a_template_says_what_to_run_first(control_url: str) -> None:
    with pytest.raises(StoreError, match="academy db upgrade"):
        await provision.create_tenant_database(control_url, "some_tenant")
