"""What a connection runs often is prepared, except where a pooler may sit in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import make_url, text

from memory.database import PREPARED_AFTER, Database
from memory.errors import StoreUnavailable

GREETING = b"K\x00\x00\x00\x0c"
"""How the message begins that names the server process (BackendKeyData); its number follows."""


@asynccontextmanager
async def pooler_before(url: str) -> AsyncIterator[str]:
    """The database of *url* behind what greets as a process of its own, as poolers do."""
    parsed = make_url(url)
    host, port = str(parsed.query["host"]), int(str(parsed.query["port"]))
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                at = data.find(GREETING)
                if at >= 0:
                    number = at + len(GREETING)
                    data = data[:number] + b"\x00\x00\x00\x01" + data[number + 4 :]
                writer.write(data)
                await writer.drain()
        writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        pumps.update({asyncio.create_task(pump(there, writer))})
        pumps.update({asyncio.create_task(pump(reader, back))})

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    front = server.sockets[0].getsockname()
    try:
        yield parsed.set(
            host=front[0], port=front[1], query={"sslmode": "disable"}
        ).render_as_string(hide_password=False)
    finally:
        server.close()
        await asyncio.wait(pumps)


async def kept_plans(database: Database) -> int:
    """How many statements its one connection has prepared after using one often."""
    for number in range(PREPARED_AFTER + 2):
        row = await database.look(text("SELECT CAST(:n AS int) + 1 AS sum"), {"n": number})
        assert row.sum == number + 1
    found = await database.look(
        text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%+ 1 AS sum'"), {}
    )
    return int(found[0])


async def test_the_server_keeps_the_plan_of_what_runs_often(control_url: str) -> None:
    database = Database(control_url, pool_size=1)
    assert await kept_plans(database) == 1
    await database.dispose()


async def test_nothing_is_prepared_through_a_pooler(control_url: str) -> None:
    async with pooler_before(control_url) as url:
        database = Database(url, pool_size=1)
        assert await kept_plans(database) == 0
        await database.dispose()


async def test_a_column_altered_under_a_kept_plan_fails_one_statement_at_most(
    control_url: str,
) -> None:
    database = Database(control_url, pool_size=1)
    async with database.unit_of_work() as session:
        await session.execute(text("CREATE TABLE gauge (value int)"))
        await session.execute(text("INSERT INTO gauge VALUES (7)"))
    reading = text("SELECT value FROM gauge")
    for _ in range(PREPARED_AFTER + 2):
        assert (await database.look(reading, {})).value == 7

    other = Database(control_url, pool_size=1)
    async with other.unit_of_work() as session:
        await session.execute(text("ALTER TABLE gauge ALTER value TYPE bigint"))
    await other.dispose()

    with pytest.raises(StoreUnavailable, match="result type"):
        await database.look(reading, {})
    assert (await database.look(reading, {})).value == 7
    await database.dispose()
