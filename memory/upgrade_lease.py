"""One upgrader at a time: the lease row that upgraders of several machines meet at."""

import asyncio
import contextlib
import os
import platform
import secrets
from collections.abc import AsyncIterator
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from memory import leases
from memory.database import Database
from memory.errors import LeaseLost, StoreError, StoreUnavailable
from memory.tables.base import Shared
from memory.tables.leases import Lease

LEASE = "schema-upgrade"
LEASE_SECONDS = 30.0
WAIT_SECONDS = 300.0
"""How long a second upgrader waits for the first."""
POLL_SECONDS = 0.2
LEASE_TABLE = Shared.metadata.tables[Lease.__tablename__]
FORBIDDEN = "42501"
"""SQLSTATE `insufficient_privilege`."""


async def ensure_lease_table(control: Database) -> None:
    """Make the table the upgraders meet at, before any revision has run.

    Raises:
        StoreError: the user may not create tables here.
    """
    for attempt in (1, 2):
        try:
            async with control.unit_of_work() as session:
                connection = await session.connection()
                await connection.run_sync(LEASE_TABLE.create, checkfirst=True)
        except (IntegrityError, ProgrammingError) as error:
            refuse_if_forbidden(error, control)
            # Two upgraders made it in the same moment; the second look finds it.
            if attempt == 2:
                raise
        else:
            return


def refuse_if_forbidden(error: DBAPIError, database: Database) -> None:
    """A user who may not create tables is told how to be allowed to."""
    if getattr(error.orig, "sqlstate", None) == FORBIDDEN:
        user = database.user
        raise StoreError(
            f"The database user {user} may not create tables in {database.name}. Make it the owner"
            f' with: ALTER DATABASE "{database.name}" OWNER TO "{user}";'
        ) from error


class Holding:
    """Renews the upgrade lease in the background and says whether it is still ours."""

    def __init__(self, control: Database, owner: str, fence: int) -> None:
        self._control = control
        self._owner = owner
        self._fence = fence

    async def __call__(self) -> None:
        """Renew now.

        Raises:
            LeaseLost: another upgrader took over.
        """
        async with self._control.unit_of_work() as session:
            await leases.renew(
                session,
                LEASE,
                self._owner,
                self._fence,
                seconds=LEASE_SECONDS,
                now=await server_now(session),
            )

    async def forever(self) -> None:
        """Renew until cancelled or lost; a store that is away for a moment is tried again."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with contextlib.suppress(StoreUnavailable):
                await self()


async def server_now(session: AsyncSession) -> datetime:
    """The server's clock: upgraders on several machines share it."""
    moment = await session.scalar(select(func.clock_timestamp()))
    assert isinstance(moment, datetime)
    return moment


@contextlib.asynccontextmanager
async def upgrader(control: Database) -> AsyncIterator[Holding]:
    """Hold the upgrade lease, waiting for whoever has it."""
    owner = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while True:
        async with control.unit_of_work() as session:
            fence = await leases.acquire(
                session, LEASE, owner, seconds=LEASE_SECONDS, now=await server_now(session)
            )
        if fence is not None:
            break
        if asyncio.get_running_loop().time() > deadline:
            raise StoreUnavailable(
                f"Another upgrade of {control.name} has been running for {WAIT_SECONDS:.0f} s;"
                " see what it does, or end it: its lease then runs out by itself."
            )
        await asyncio.sleep(POLL_SECONDS)
    holding = Holding(control, owner, fence)
    renewer = asyncio.create_task(holding.forever())
    try:
        yield holding
    finally:
        renewer.cancel()
        with contextlib.suppress(asyncio.CancelledError, LeaseLost):
            await renewer
        async with control.unit_of_work() as session:
            await leases.release(session, LEASE, owner, fence, now=await server_now(session))
