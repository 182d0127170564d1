"""Campus's own database: made and seeded on first use, one connection per replica, self-mending."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from evals.worlds.campus.courses import COURSES

DATABASE = "campus_catalog"
CALL_SECONDS = 1.2
"""A database that takes longer is treated as gone; shorter than the player waits for us."""

SCHEMA: LiteralString = """
select pg_advisory_xact_lock(7215001);
create table if not exists course (
    slug text primary key, title text not null, summary text not null, position int not null
);
create table if not exists lesson (
    course text not null references course(slug),
    number int not null,
    title text not null,
    body text not null,
    primary key (course, number)
);
create table if not exists certificate (
    id bigint generated always as identity primary key,
    learner text not null,
    course text not null references course(slug),
    asked_at timestamptz not null default now(),
    issued_at timestamptz,
    code text
);
create index if not exists certificate_waiting on certificate (id) where issued_at is null;
"""

log = logging.getLogger("campus")
Row = dict[str, Any]


class StoreDown(Exception):
    """The database can't be reached now; the message is the cause."""


class Store:
    """The campus database behind the server address *url* (any of its databases)."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._lock = asyncio.Lock()
        self.note = "not connected yet"
        """Why the last call failed; empty when it worked."""

    async def run(self, query: LiteralString, values: Sequence[Any] = ()) -> list[Row]:
        """Rows of one statement, each its own transaction.

        A connection that died since the last call is replaced once.

        Raises:
            StoreDown: the database can't be reached or doesn't answer in time.
        """
        work = asyncio.create_task(self._in_turn(query, values))
        done, _ = await asyncio.wait({work}, timeout=CALL_SECONDS)
        if done:
            return work.result()
        # Cancelling psycopg asks the server to cancel and waits for it, which a frozen one never
        # does: the connection is dropped under it instead.
        self._drop()
        work.cancel()
        raise self._down(f"no answer within {CALL_SECONDS} s")

    async def check(self) -> dict[str, Any]:
        """Whether the database answers now, in the shape `/healthz` shows."""
        try:
            await self.run("select 1")
        except StoreDown as error:
            return {"ok": False, "note": str(error)}
        return {"ok": True, "note": ""}

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _in_turn(self, query: LiteralString, values: Sequence[Any]) -> list[Row]:
        async with self._lock:
            kept = self._connection is not None
            try:
                return await self._once(query, values)
            except StoreDown:
                if not kept:
                    raise
                return await self._once(query, values)

    async def _once(self, query: LiteralString, values: Sequence[Any]) -> list[Row]:
        try:
            if self._connection is None:
                self._connection = await self._connect()
            cursor = await self._connection.execute(query, values)
            rows = await cursor.fetchall() if cursor.description is not None else []
        except psycopg.DataError:
            raise
        except psycopg.Error as error:
            # A missing table counts too: the next connection makes it again.
            self._drop()
            raise self._down(str(error).strip().splitlines()[0]) from error
        self.note = ""
        return rows

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()

    def _down(self, cause: str) -> StoreDown:
        if cause != self.note:
            log.warning("the database is gone: %s", cause)
        self.note = cause
        return StoreDown(cause)

    async def _connect(self) -> psycopg.AsyncConnection[Row]:
        conninfo = make_conninfo(self._url, dbname=DATABASE, connect_timeout=2)
        try:
            connection = await self._open(conninfo)
        except psycopg.OperationalError as error:
            if "does not exist" not in str(error):
                raise
            await self._create()
            connection = await self._open(conninfo)
        await _seed(connection)
        return connection

    async def _open(self, conninfo: str) -> psycopg.AsyncConnection[Row]:
        return await psycopg.AsyncConnection.connect(
            conninfo, autocommit=True, prepare_threshold=None, row_factory=dict_row
        )

    async def _create(self) -> None:
        """Make the database; the replica that comes second finds it made."""
        server = make_conninfo(self._url, connect_timeout=2)
        connection = await psycopg.AsyncConnection.connect(server, autocommit=True)
        try:
            # template0 has no connections that could be in the way.
            statement = sql.SQL("create database {} template template0 encoding 'utf8'")
            await connection.execute(statement.format(sql.Identifier(DATABASE)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            log.info("another replica made %s", DATABASE)
        finally:
            await connection.close()


async def _seed(connection: psycopg.AsyncConnection[Row]) -> None:
    async with connection.transaction():
        await connection.execute(SCHEMA)
        cursor = await connection.execute("select count(*) as courses from course")
        row = await cursor.fetchone()
        if row is not None and row["courses"] == len(COURSES):
            return
        for position, course in enumerate(COURSES):
            await connection.execute(
                "insert into course values (%s, %s, %s, %s) on conflict do nothing",
                (course.slug, course.title, course.summary, position),
            )
            for number, lesson in enumerate(course.lessons, start=1):
                await connection.execute(
                    "insert into lesson values (%s, %s, %s, %s) on conflict do nothing",
                    (course.slug, number, lesson.title, lesson.body),
                )
