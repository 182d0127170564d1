"""A throw-away PostgreSQL for benchmarks and attacks: the embedded server, upgraded, with a tenant.

    with throwaway_postgres() as store:
        control = Database(store.control_url)

Everything of it is gone after the block: server, data, sockets, password.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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

    @property
    def control_url(self) -> str:
        """SQLAlchemy URL of the control database, password included."""
        return self.server.url(CONTROL)

    @property
    def tenant_url(self) -> str:
        """SQLAlchemy URL of the database of the tenant `TENANT_ID`, password included."""
        return self.server.url(provision.tenant_database_name(CONTROL, provision.FIRST_SLUG))

    async def fresh(self, name: str, template: str) -> str:
        """URL of a new database *name*, a clone of the database *template* nobody is connected to.

        Raises:
            StoreError: somebody stays connected to *template*, or there is none.
        """
        async with provision.connection(read_url(self.server.url("postgres"))) as server:
            await provision.create(server, name, template=template)
        return self.server.url(name)


@contextmanager
def throwaway_postgres(
    folder: Path | None = None, *, durable: bool = False
) -> Iterator[ThrowawayPostgres]:
    """Start a server in *folder* (a temporary one where none is given); stop and remove it after.

    Call it outside of an event loop, from the thread that outlives the block: the server ends with
    the thread that started it. With *durable* it waits for the disk as a real one does.

    Raises:
        StoreError: the server can't be prepared or doesn't start; the message holds its log's end.
    """
    sockets = Path(tempfile.mkdtemp(prefix="academy-pg-"))
    home = folder or Path(tempfile.mkdtemp(prefix="academy-pg-"))
    if os.geteuid() == 0:
        for place in (home, sockets):  # the server's own user must pass through
            place.chmod(0o711)
    server = EmbeddedPostgres(home / "postgres", sockets / "run", home / "postgres.password")
    process: subprocess.Popen[bytes] | None = None
    try:
        server.prepare()
        if not durable:
            with (server.data / "postgresql.conf").open("a") as settings:
                settings.write(f"\n{HASTY}")
        log = home / "postgres.log"
        with log.open("ab") as output:
            process = subprocess.Popen(server.command, stdout=output, stderr=output)
        asyncio.run(_make_ready(server, process, log))
        yield ThrowawayPostgres(server, process)
    finally:
        if process is not None:
            _stop(process)
        data = server.data.resolve()
        for path in (data, sockets, *([home] if folder is None else [server.data])):
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path, ignore_errors=True)


async def _make_ready(
    server: EmbeddedPostgres, process: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            async with provision.connection_beside(read_url(server.url("postgres"))):
                break
        except StoreUnavailable as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-800:]
                raise StoreError(f"The throw-away PostgreSQL did not start: {said}") from error
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


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A fast shutdown, and SIGKILL where that takes too long."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
