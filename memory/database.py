"""Databases as the layers above meet them: a unit of work, a ping, and a bounded set of tenants.

`Database.unit_of_work` is the only place that commits. What can't be reached is `StoreUnavailable`.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from select import POLLIN, poll
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import URL, Executable, Row, event, make_url, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from memory.errors import StoreError, StoreUnavailable, WritesKept
from memory.tables.identity import TenantRecord

CONNECT_SECONDS = 5
POOL_SECONDS = 5
"""How long a request waits for a free connection before it is told that the store is busy."""
TRUSTED_SECONDS = 0.5
"""How long a connection that worked counts as alive without asking, which takes two fifths of a
short unit of work. HikariCP trusts one as long (`aliveBypassWindowMs`)."""
PREPARED_AFTER = 5
"""How often a connection runs a statement before the server keeps its plan (psycopg's default)."""
PLAN_OUTDATED = "0A000"
"""SQLSTATE of a kept plan whose columns were altered since: "cached plan must not change result
type" (PostgreSQL, `plancache.c`)."""
UNAVAILABLE = ("08", "53", "57P0")
"""SQLSTATE classes of a server that is gone, full or stopping (PostgreSQL manual, appendix A)."""


def read_url(url: str) -> URL:
    """The parsed URL of a database, for SQLAlchemy's psycopg driver.

    Raises:
        StoreError: it isn't `postgresql://user:password@host:port/database`.
    """
    right = "postgresql://user:password@host:port/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(f"The database URL can't be read; write it as {right}.") from None
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise StoreError(
            f"The database URL begins with {parsed.drivername}://, and only PostgreSQL is"
            f" supported; write it as {right}."
        )
    if not parsed.database:
        raise StoreError(f"The database URL names no database; write it as {right}.")
    return parsed.set(drivername="postgresql+psycopg")


def plain(url: URL) -> str:
    """The URL as libpq reads it, password included.

    SQLAlchemy's own rendering writes a space as `+`, which libpq takes for a plus sign.
    """
    user = quote(url.username or "", safe="")
    if url.password is not None:
        user += f":{quote(str(url.password), safe='')}"
    host = quote(url.host or "", safe=":")
    if ":" in host:
        host = f"[{host}]"
    at = f"{user}@" if user else ""
    port = f":{url.port}" if url.port else ""
    query = urlencode(url.normalized_query, doseq=True, quote_via=quote, safe="")
    return f"postgresql://{at}{host}{port}/{quote(url.database or '', safe='')}" + (
        f"?{query}" if query else ""
    )


def place(url: URL) -> str:
    """Where a database is, in words without its password: `academy on db.example:5432`."""
    host = url.host or url.query.get("host") or "the local socket"
    return f"{url.database} on {host}{f':{url.port}' if url.port else ''}"


def unavailable(error: Exception, url: URL) -> StoreUnavailable | None:
    """The `StoreUnavailable` that *error* means, or None when the server itself answered."""
    if isinstance(error, PoolTimeout):
        return StoreUnavailable(
            f"Every connection to {place(url)} is busy; waited {POOL_SECONDS} s."
        )
    if not isinstance(error, DBAPIError):
        return None
    state = getattr(error.orig, "sqlstate", None)
    gone = state is None and isinstance(error, OperationalError | InterfaceError)
    if not (gone or error.connection_invalidated or (state or "").startswith(UNAVAILABLE)):
        return None
    said = " ".join(str(error.orig).split())
    return StoreUnavailable(f"The database {place(url)} can't be used now: {said[:300]}")


def _ask_idle_connections(engine: AsyncEngine) -> None:
    """Hand out no connection that was idle for a while without an answer from its server.

    One that has just worked isn't asked unless something came in meanwhile: the server's goodbye,
    as a rule. One that gives no answer is replaced, and so is each that is older than this finding.
    """
    key = "returned"

    def returned(_: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info[key] = time.monotonic()

    def taken(
        connection: DBAPIConnection, record: ConnectionPoolEntry, _: PoolProxiedConnection
    ) -> None:
        at = record.info.get(key)
        if at is None or (time.monotonic() - at < TRUSTED_SECONDS and _silent(connection)):
            return
        dialect = engine.dialect
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError("the server closed an idle connection") from error

    event.listen(engine.sync_engine, "checkin", returned)
    event.listen(engine.sync_engine, "checkout", taken)


def _silent(connection: DBAPIConnection) -> bool:
    """Whether nothing has come in on an idle connection, by its socket alone."""
    driver: Any = connection.driver_connection
    if driver.closed:
        return False
    waiting = poll()
    waiting.register(driver.fileno(), POLLIN)
    return not waiting.poll(0)


def _prepare_where_no_pooler_is(engine: AsyncEngine) -> None:
    """Let the server keep the plans of what a connection runs often, unless a pooler is between.

    A pooler in transaction mode hands each transaction to another server process, which may not
    know the plan. It gives itself away: the process that its greeting names isn't the one that
    answers.
    """

    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        driver: Any = connection.driver_connection
        cursor = connection.cursor()
        try:
            cursor.execute("SELECT pg_backend_pid()")
            answered_by = cursor.fetchone()
            connection.rollback()
        except engine.dialect.loaded_dbapi.Error:
            return  # the first statement of whoever asked for the connection will say what is wrong
        finally:
            cursor.close()
        if answered_by == (driver.info.backend_pid,):
            driver.prepare_threshold = PREPARED_AFTER

    def failed(context: ExceptionContext) -> None:
        # Connections keep their plans, so a column altered under them would fail them for ever.
        if getattr(context.original_exception, "sqlstate", None) == PLAN_OUTDATED:
            context.is_disconnect = True

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "handle_error", failed)


class Database:
    """One database and its pool of at most *pool_size* kept connections (and as many again)."""

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self._url = read_url(url)
        self._engine: AsyncEngine = create_async_engine(
            self._url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_SECONDS,
            # An error's text goes to logs; people's words and tokens are among the parameters.
            hide_parameters=True,
            connect_args={"prepare_threshold": None, "connect_timeout": CONNECT_SECONDS},
        )
        _ask_idle_connections(self._engine)
        _prepare_where_no_pooler_is(self._engine)
        # A single statement is a transaction of its own; the pool is the same.
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._open = 0
        self._abandoned: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Database({place(self._url)})"

    @property
    def name(self) -> str:
        """The database's name on its server."""
        assert self._url.database
        return self._url.database

    @property
    def user(self) -> str:
        """Who it connects as."""
        return self._url.username or ""

    @property
    def url(self) -> str:
        """The URL for SQLAlchemy, password included: hand it on, never print it."""
        return self._url.render_as_string(hide_password=False)

    @property
    def plain_url(self) -> str:
        """The URL for psycopg, LangGraph and procrastinate, password included."""
        return plain(self._url)

    @property
    def busy(self) -> bool:
        """Whether a unit of work is open on it."""
        return self._open > 0

    @contextlib.asynccontextmanager
    async def unit_of_work(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end, rolled back on any error but `WritesKept`.

        Raises:
            StoreUnavailable: the server can't be reached, stopped meanwhile, or is full. Whether
                the last commit happened is then unknown only when the error came from the end.
        """
        with self._in_use():
            async with AsyncSession(self._engine, expire_on_commit=False) as session:
                try:
                    yield session
                except WritesKept:
                    await session.commit()
                    raise
                await session.commit()

    async def look(self, query: Executable, parameters: Mapping[str, Any]) -> Row[Any]:
        """The one row that *query* answers; it changes nothing, so nothing is begun or committed.

        Raises:
            StoreUnavailable: the server can't be reached, stopped meanwhile, or is full.
        """
        with self._in_use():
            async with self._single.connect() as connection:
                return (await connection.execute(query, parameters)).one()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        self._open += 1
        try:
            yield
        except (DBAPIError, PoolTimeout) as error:
            translated = unavailable(error, self._url)
            if translated is None:
                raise
            raise translated from error
        finally:
            self._open -= 1

    async def ping(self, *, seconds: float = 2.0) -> None:
        """Ask the server for one row.

        Raises:
            StoreUnavailable: no answer within *seconds*.
        """
        asking = asyncio.create_task(self._ask())
        try:
            await asyncio.wait({asking}, timeout=seconds)
        finally:
            if not asking.done():
                # Cancelling takes the driver up to 10 s on a frozen server; nobody waits for that.
                asking.cancel()
                self._abandoned.add(asking)
                asking.add_done_callback(self._forget)
        if not asking.done():
            raise StoreUnavailable(
                f"The database {place(self._url)} did not answer within {seconds:g} s."
            )
        await asking

    def _forget(self, asked: asyncio.Task[None]) -> None:
        """Drop an answer that nobody waits for any more."""
        self._abandoned.discard(asked)
        if not asked.cancelled():
            asked.exception()

    async def _ask(self) -> None:
        async with self.unit_of_work() as session:
            await session.execute(text("SELECT 1"))

    async def dispose(self) -> None:
        """Close every pooled connection; the database can be used again after."""
        await self._engine.dispose()


class Databases:
    """The control database and, on demand, the tenants' databases.

    At most *tenants_kept* tenant pools stay open (more only while all of them are in use); the
    least recently used goes first. A tenant pool keeps one connection and may open a second.
    """

    def __init__(self, control_url: str, *, pool_size: int = 5, tenants_kept: int = 16) -> None:
        self.control = Database(control_url, pool_size=pool_size)
        self._kept = tenants_kept
        self._tenants: OrderedDict[str, Database] = OrderedDict()
        self._lock = asyncio.Lock()

    async def tenant(self, tenant_id: str) -> Database:
        """The database of a tenant.

        Raises:
            StoreError: there is no such tenant.
            StoreUnavailable: the control database can't be reached.
        """
        async with self._lock:
            known = self._tenants.get(tenant_id)
            if known is None:
                known = Database(await self._tenant_url(tenant_id), pool_size=1)
                self._tenants[tenant_id] = known
            self._tenants.move_to_end(tenant_id)
            for other_id, other in list(self._tenants.items()):
                if len(self._tenants) <= self._kept:
                    break
                if other_id != tenant_id and not other.busy:
                    del self._tenants[other_id]
                    await other.dispose()
        return known

    async def _tenant_url(self, tenant_id: str) -> str:
        async with self.control.unit_of_work() as session:
            row = (
                await session.execute(
                    select(TenantRecord.database, TenantRecord.server_url).where(
                        TenantRecord.id == tenant_id
                    )
                )
            ).one_or_none()
        if row is None:
            raise StoreError(f"There is no tenant {tenant_id}.")
        server = read_url(row.server_url or self.control.url)
        return server.set(database=row.database).render_as_string(hide_password=False)

    async def dispose(self) -> None:
        """Close every connection of every database."""
        async with self._lock:
            for database in (self.control, *self._tenants.values()):
                await database.dispose()
            self._tenants.clear()
