"""A throw-away PostgreSQL for benchmarks and attacks: the embedded server, upgraded, with a tenant.

    with postgres_started() as store:                 where no event loop runs
    async with throwaway_postgres() as store:         where one does

Everything of it is gone after the block: server, data, sockets, password.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from memory import provision
from memory.database import Database, read_url
from memory.embedded_postgres import EmbeddedPostgres
from memory.errors import StoreError, StoreUnavailable
from memory.tables.identity import TenantRecord
from memory.upgrade import upgrade

CONTROL = "academy_control"
TENANT_ID = "ten-first"
START_SECONDS = 60.0
"""Longest wait for the first answer; initdb and the start take about three seconds."""
STOP_SECONDS = 20.0

HASTY = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
"""Settings of a server that needn't survive the machine; what is committed is seen by all at once,
and survives the death of any client."""


@dataclass(frozen=True)
class ThrowawayPostgres:
    """A running server whose control database, template and first tenant are upgraded."""

    server: EmbeddedPostgres
    process: subprocess.Popen[bytes]
    """The server itself; SIGKILL it to see what a crash of the store does."""

    def url(self, database: str) -> str:
        """SQLAlchemy URL of *database*, password included; `create` makes it."""
        return self.server.url(database)

    @property
    def control_url(self) -> str:
        """SQLAlchemy URL of the control database, password included."""
        return self.url(CONTROL)

    @property
    def tenant_url(self) -> str:
        """SQLAlchemy URL of the database of the tenant `TENANT_ID`, password included."""
        return self.url(provision.tenant_database_name(CONTROL, provision.FIRST_SLUG))

    async def create(self, name: str, *, template: str | None = None) -> str:
        """URL of a new database *name*: empty, or a clone of *template* (such as `CONTROL`).

        Raises:
            StoreError: somebody stays connected to *template*, or there is none.
        """
        async with provision.connection(read_url(self.url("postgres"))) as server:
            await provision.create(server, name, template=template)
        return self.url(name)


@contextmanager
def postgres_started(*, durable: bool = False) -> Iterator[ThrowawayPostgres]:
    """Start a server in a folder of its own, upgrade it; stop and remove it after the block.

    The server ends with the thread that started it; a Ctrl-C in the terminal reaches only whoever
    started it. With *durable* it waits for the disk as one in production does.

    Raises:
        StoreError: it can't be prepared or doesn't start; the message has the end of its log.
    """
    home, server = _prepared(durable=durable)
    process: subprocess.Popen[bytes] | None = None
    try:
        process = _launched(server, home)
        asyncio.run(_make_ready(server, process, home))
        yield ThrowawayPostgres(server, process)
    finally:
        _remove(home, server, process)


@asynccontextmanager
async def throwaway_postgres(*, durable: bool = True) -> AsyncIterator[ThrowawayPostgres]:
    """The same inside an event loop; by default it waits for the disk.

    Raises:
        StoreError: it can't be prepared or doesn't start; the message has the end of its log.
    """
    home, server = await asyncio.to_thread(_prepared, durable=durable)
    process: subprocess.Popen[bytes] | None = None
    try:
        process = _launched(server, home)
        await _make_ready(server, process, home)
        yield ThrowawayPostgres(server, process)
    finally:
        await asyncio.to_thread(_remove, home, server, process)


def _prepared(*, durable: bool) -> tuple[Path, EmbeddedPostgres]:
    home = Path(tempfile.mkdtemp(prefix="academy-pg-"))
    if os.geteuid() == 0:
        home.chmod(0o711)  # the server's own user must pass through
    server = EmbeddedPostgres(home / "postgres", home / "run", home / "postgres.password")
    try:
        server.prepare()
    except StoreError:
        _remove(home, server, None)
        raise
    if not durable:
        with (server.data / "postgresql.conf").open("a") as settings:
            settings.write(f"\n{HASTY}")
    return home, server


def _launched(server: EmbeddedPostgres, home: Path) -> subprocess.Popen[bytes]:
    with (home / "postgres.log").open("ab") as log:
        return subprocess.Popen(server.command, stdout=log, stderr=log, process_group=0)


async def _make_ready(
    server: EmbeddedPostgres, process: subprocess.Popen[bytes], home: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            async with provision.connection_beside(read_url(server.url("postgres"))):
                break
        except StoreUnavailable as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise StoreError(
                    f"The throw-away PostgreSQL did not start: {_end_of_log(home)}"
                ) from error
            await asyncio.sleep(0.05)
    control_url = server.url(CONTROL)
    await upgrade(control_url)
    control = Database(control_url, pool_size=1)
    try:
        async with control.unit_of_work() as session:
            session.add(
                TenantRecord(
                    id=TENANT_ID,
                    slug=provision.FIRST_SLUG,
                    name="Dynasty Academy",
                    database=provision.tenant_database_name(CONTROL, provision.FIRST_SLUG),
                    server_url=None,
                    theme={"accent": "#2f5bea"},
                    fleet=True,
                    created_at=datetime.now(UTC),
                )
            )
    finally:
        await control.dispose()


def _end_of_log(home: Path) -> str:
    return (home / "postgres.log").read_text(errors="replace")[-800:]


def _remove(home: Path, server: EmbeddedPostgres, process: subprocess.Popen[bytes] | None) -> None:
    """A fast shutdown, SIGKILL where that takes too long, and nothing left on the disk."""
    if process is not None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
    data = server.data.resolve()
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)
