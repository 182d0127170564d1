"""A real PostgreSQL for every test that wants one, and fresh databases within 0.2 s.

One embedded server per test session; `control_db` and `tenant_db` are clones of upgraded databases
and are dropped after the test.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from memory import provision
from memory.database import Database, Databases, read_url
from memory.embedded_postgres import EmbeddedPostgres
from memory.ids import new_id
from memory.tables.identity import TenantRecord
from memory.upgrade import upgrade
from tests.fakes import run_folder
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID, start_postgres, stop_postgres, wait_until_up
from tools.kit.deps import Caller

MASTER = "academy_control"
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 8 << 30
"""Free there before tests keep their files in it: servers, their logs, homes of academies."""
IN_MEMORY = pytest.StashKey[Path]()

# A change is judged by what it changed, not by which examples were drawn that day. To look for new
# ones: make test ARGS="--hypothesis-profile=explore".
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' files in memory where it has room, unless `TMPDIR` says where.

    A clone of a database took 0.03 s of a processor there and 0.3 s on a disk, and every test that
    asks for a database makes one or two.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    run_folder.remove_left_behind(MEMORY)
    roomy = shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    if roomy and (folder := run_folder.make(MEMORY)):
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None
        config.stash[IN_MEMORY] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the memory back."""
    if folder := config.stash.get(IN_MEMORY, None):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """pytest's own folder, as root open for the database's user to pass through."""
    if os.geteuid() == 0:
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(0o711)
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short folder in which every home of this run has its sockets; nothing of it stays."""
    tmp_path_factory.getbasetemp()  # pytest keeps its own folders where they were
    before, inherited = tempfile.tempdir, os.environ.get("TMPDIR")
    folder = Path(tempfile.mkdtemp(prefix="academy-test-"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    yield folder
    tempfile.tempdir = before
    if inherited is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = inherited
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(sockets: Path) -> Iterator[EmbeddedPostgres]:
    """A running embedded server whose `academy_control` and template are upgraded.

    It doesn't wait for the disk: what a test loses with the machine, the next run makes again.
    """
    home = Path(tempfile.mkdtemp(prefix="academy-test-"))
    if os.geteuid() == 0:
        home.chmod(0o711)  # the server's own user must pass through
    server = EmbeddedPostgres(home / "postgres", home / "run", home / "postgres.password")
    process = None
    try:
        server.prepare()
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n")
        process = start_postgres(server)
        asyncio.run(_prepare_master(server))
        yield server
    finally:
        if process:
            stop_postgres(process)
        data = server.data.resolve()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)


async def _prepare_master(server: EmbeddedPostgres) -> None:
    await wait_until_up(server)
    await upgrade(server.url(MASTER))


@pytest.fixture
async def control_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """URL of a control database of this test's own, empty and upgraded; password included.

    Every database whose name begins with it is dropped after the test.
    """
    name = new_id("test").replace("-", "_")
    server_url = read_url(postgres.url("postgres"))
    async with provision.connection(server_url) as server:
        await provision.create(server, f"{name}_control", template=MASTER)
    yield postgres.url(f"{name}_control")
    async with provision.connection(server_url) as server:
        found = await server.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [name]
        )
        for (database,) in await found.fetchall():
            await provision.drop(server, database)


@pytest.fixture
async def databases(control_url: str) -> AsyncIterator[Databases]:
    """The control database and the tenants' of this test."""
    opened = Databases(control_url, pool_size=5)
    yield opened
    await opened.dispose()


@pytest.fixture
def control_db(databases: Databases) -> Database:
    """The control database of this test: `databases.control`."""
    return databases.control


@pytest.fixture
async def tenant_db(databases: Databases, control_url: str, clock: FakeClock) -> Database:
    """The database of the tenant `TENANT_ID` (slug `dynasty`), whose row it adds."""
    control = databases.control.name
    name = provision.tenant_database_name(control, "dynasty")
    async with provision.connection(read_url(control_url)) as server:
        await provision.create(server, name, template=provision.template_name(MASTER))
    async with databases.control.unit_of_work() as session:
        session.add(
            TenantRecord(
                id=TENANT_ID,
                slug="dynasty",
                name="Dynasty Academy",
                database=name,
                server_url=None,
                theme={"accent": "#2f5bea"},
                fleet=True,
                created_at=clock.now(),
            )
        )
    return await databases.tenant(TENANT_ID)


@pytest.fixture
def clock() -> FakeClock:
    """A clock the test sets; it starts on 23 November 2026, 09:00 UTC."""
    return FakeClock()


@pytest.fixture
def staff() -> Caller:
    """A member of the first tenant's staff, which may see and act on the fleet."""
    return Caller(
        tenant_id=TENANT_ID,
        tenant_slug="dynasty",
        person_id="per-staff",
        name="Ada",
        roles=frozenset({"staff"}),
        fleet=True,
    )
