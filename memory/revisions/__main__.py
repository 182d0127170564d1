"""Write the next revision of each family whose tables differ from its revisions.

It compares on a database server of its own that lives for a few seconds, needs no academy, and
leaves the new file to be read, trimmed and formatted by whoever asked for it.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from memory.database import Database
from memory.embedded_postgres import EmbeddedPostgres
from memory.errors import StoreUnavailable
from memory.families import FAMILIES, Family
from memory.provision import ensure_control_database

START_SECONDS = 30.0


class _Discarded(Exception):
    """Rolls the comparison's transaction back: its database is thrown away anyway."""


async def write_revisions(server: EmbeddedPostgres, message: str) -> list[Path]:
    """The files written, one for each family whose tables differ from its revisions.

    Raises:
        StoreUnavailable: the server doesn't come up within 30 s.
    """
    written = []
    for family in FAMILIES.values():
        url = server.url(f"compare_{family.name}")
        await _when_up(url)
        database = Database(url, pool_size=1)
        try:
            async with database.unit_of_work() as session:
                connection = await session.connection()
                written += await connection.run_sync(_compare, family, message)
                raise _Discarded
        except _Discarded:
            await database.dispose()
    return written


async def _when_up(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            await ensure_control_database(url)
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def _compare(connection: Connection, family: Family, message: str) -> list[Path]:
    def keep_if_any(
        _context: MigrationContext, _revision: object, directives: list[MigrationScript]
    ) -> None:
        if directives[0].upgrade_ops is not None and directives[0].upgrade_ops.is_empty():
            directives.clear()

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(family.folder).replace("%", "%%"))
    command.upgrade(config, "head")
    before = set((family.folder / "versions").glob("*.py"))
    command.revision(
        config,
        message=message,
        autogenerate=True,
        rev_id=f"{family.head + 1:04d}",
        process_revision_directives=keep_if_any,
    )
    return sorted(set((family.folder / "versions").glob("*.py")) - before)


def main() -> int:
    """Start a server, compare, write, and say which files; the exit code."""
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.stderr.write('usage: python -m memory.revisions "What the tables gain"\n')
        return 2
    home = Path(tempfile.mkdtemp(prefix="academy-revisions-"))
    if os.geteuid() == 0:
        home.chmod(0o711)
    server = EmbeddedPostgres(home / "data", home / "run", home / "password")
    server.prepare()
    process = subprocess.Popen(server.command, stderr=subprocess.DEVNULL)
    try:
        written = asyncio.run(write_revisions(server, sys.argv[1]))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)
    for path in written:
        sys.stdout.write(f"{path}\n")
    if not written:
        sys.stdout.write("The revisions make exactly the tables declared; nothing written.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
