"""Tables that libraries own: procrastinate's jobs (control) and LangGraph's checkpoints (tenant).

Their statements come from the installed library, so they follow its version, not our revisions; the
table `library_schema` says which version a database carries.
"""

import importlib.metadata
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.database import Database
from memory.errors import StoreError
from memory.tables.libraries import LibrarySchema

LIBRARIES = {"control": "procrastinate", "tenant": "langgraph-checkpoint-postgres"}
"""The library whose tables each family of databases holds, by its distribution's name."""


def installed(library: str) -> str:
    """The installed version of a library."""
    return importlib.metadata.version(library)


async def carried(session: AsyncSession, library: str) -> str | None:
    """The version of a library's tables in this database, or None."""
    return await session.scalar(
        select(LibrarySchema.version).where(LibrarySchema.library == library)
    )


async def bring_up_to_date(database: Database, family: str) -> str | None:
    """Create or migrate the library's tables; a line saying what was done, or None.

    A newer version than the installed one is left alone: both libraries add, and read older rows.
    """
    library = LIBRARIES[family]
    version = installed(library)
    async with database.unit_of_work() as session:
        present = await carried(session, library)
        if present is not None and not older(present, version):
            return None
        if library == "procrastinate":
            await _procrastinate(session, present)
            await _record(session, library, version)
    if library != "procrastinate":
        from memory.checkpoints import create_tables  # 1.5 s, and needed once a release

        # In a connection of its own: it builds indexes concurrently, outside a transaction.
        await create_tables(database.plain_url)
        async with database.unit_of_work() as session:
            await _record(session, library, version)
    return f"{database.name}: tables of {library} {version}"


async def _procrastinate(session: AsyncSession, present: str | None) -> None:
    raw = await (await session.connection()).get_raw_connection()
    driver = raw.driver_connection
    if driver is None:
        raise StoreError("The connection closed while procrastinate's tables were made.")
    for statement in _procrastinate_statements(present):
        # Straight to the driver: several statements in one text, and % means itself.
        await driver.execute(statement)


def _procrastinate_statements(present: str | None) -> list[str]:
    from procrastinate.schema import SchemaManager  # 0.2 s, and needed once a release

    if present is None:
        return [SchemaManager.get_schema()]
    # A migration's name begins with the version it leads to: 03.04.00_01_pre_....sql
    files = sorted(Path(SchemaManager.get_migrations_path()).glob("[0-9]*.sql"))
    return [
        file.read_text(encoding="utf-8")
        for file in files
        if older(present, than=file.name.split("_", 1)[0])
    ]


async def _record(session: AsyncSession, library: str, version: str) -> None:
    row = insert(LibrarySchema).values(library=library, version=version)
    await session.execute(
        row.on_conflict_do_update(
            index_elements=[LibrarySchema.library], set_={"version": row.excluded.version}
        )
    )


def older(version: str, than: str) -> bool:
    """Whether one version comes before another."""
    return _key(version) < _key(than)


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
