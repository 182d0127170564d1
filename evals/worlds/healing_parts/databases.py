"""Control databases for trials: one throw-away server a process, a fresh clone for every trial."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from psycopg import sql
from sqlalchemy import URL

from evals.worlds.postgres import CONTROL, ThrowawayPostgres, throwaway_postgres
from memory import provision
from memory.database import Databases, read_url
from tools.identity.service import ensure_first_academy
from tools.kit.clock import SystemClock
from tools.kit.deps import Caller


@dataclass(frozen=True)
class TrialDatabase:
    """One trial's control database, and the person who answers in it."""

    name: str
    url: str
    person: Caller


class TrialDatabases:
    """The server that all worlds of this process share; the last one to leave stops it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._users = 0
        self._numbers = 0
        self._dropping: set[asyncio.Task[None]] = set()
        self._stack: AsyncExitStack | None = None
        self._server: ThrowawayPostgres
        self._person: Caller

    async def join(self) -> None:
        """Use the server; the first one starts it and makes the first academy.

        Raises:
            StoreError: it could not be prepared.
        """
        async with self._lock:
            if self._stack is None:
                async with AsyncExitStack() as stack:
                    self._server = await stack.enter_async_context(
                        throwaway_postgres(durable=False)
                    )
                    self._person = await self._found_academy()
                    self._stack = stack.pop_all()
            self._users += 1

    async def leave(self) -> None:
        """Use it no longer."""
        async with self._lock:
            self._users -= 1
            if self._dropping:
                await asyncio.wait(self._dropping)
            if self._users == 0 and self._stack is not None:
                stack, self._stack = self._stack, None
                await stack.aclose()

    @asynccontextmanager
    async def cloned(self) -> AsyncIterator[TrialDatabase]:
        """A fresh control database with one tenant and one person, in about 0.1 s; dropped after.

        Nobody waits for the drop but `leave`.
        """
        self._numbers += 1
        name = f"trial_{self._numbers}_control"
        async with provision.connection(self._admin) as server:
            await provision.create(server, name, template=CONTROL)
        try:
            yield TrialDatabase(name, self._server.url(name), self._person)
        finally:
            task = asyncio.create_task(self._drop(name))
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)

    async def _drop(self, name: str) -> None:
        async with provision.connection(self._admin) as server:
            await provision.drop(server, name)

    async def admit(self, database: TrialDatabase, *, admitted: bool) -> None:
        """Close or open one database: closed, it ends every session and takes no new one."""
        async with provision.connection(self._admin) as server:
            await server.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    sql.Identifier(database.name), sql.SQL("true" if admitted else "false")
                )
            )
            if not admitted:
                await server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [database.name],
                )

    @property
    def _admin(self) -> URL:
        return read_url(self._server.url("postgres"))

    async def _found_academy(self) -> Caller:
        databases = Databases(self._server.control_url, pool_size=1, tenants_kept=1)
        try:
            async with databases.control.unit_of_work() as session:
                tenant, person = await ensure_first_academy(session, SystemClock())
                return Caller(
                    tenant_id=tenant.id,
                    tenant_slug=tenant.slug,
                    person_id=person.id,
                    name=person.name,
                    roles=frozenset({"staff", "operator"}),
                    fleet=True,
                )
        finally:
            await databases.dispose()


SHARED = TrialDatabases()
"""The one of this process."""
