"""Databases as a whole: their names, making them, cloning them from the template, dropping them."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql
from sqlalchemy import URL

from memory.database import CONNECT_SECONDS, place, plain, read_url
from memory.errors import StoreError, StoreUnavailable

NAME_LIMIT = 63
"""Longest database name PostgreSQL keeps, in bytes; a longer one is silently cut."""
CLONE_SECONDS = 20.0
"""How long a clone waits for the last session to leave its source."""
MAINTENANCE = ("postgres", "template1")
"""Databases to connect to where the control database doesn't exist yet."""

FIRST_SLUG = "dynasty"
"""Slug of the first academy, whose database is there before its row."""

WRONG = (
    ("password authentication failed", "the user name or the password is wrong"),
    ("no password supplied", "the URL needs a password"),
    ('role "', "that user doesn't exist there"),
    ("no pg_hba.conf entry", "the server doesn't admit this user from here"),
    ("SSL was required", "the server speaks no TLS; leave out sslmode, or switch it on there"),
    ("invalid URI query parameter", "the URL's part after ? is wrong"),
)
"""What waiting doesn't mend, by what libpq says."""
AWAY = (
    ("resolve host", "the host name is wrong or unknown here"),
    ("translate host", "the host name is wrong or unknown here"),
    ("refused", "no server listens there: check host and port, or start it"),
    ("No such file", "no server listens there: is PostgreSQL running?"),
    ("timeout", "the host doesn't answer: check host, port and firewall"),
    ("starting up", "it is starting; wait a moment"),
    ("shutting down", "it is stopping"),
)
"""What may be over in a moment."""


def base_name(control: str) -> str:
    """What the names of an academy's databases begin with: `academy` for `academy_control`."""
    return control.removesuffix("_control")


def template_name(control: str) -> str:
    """Name of the template that tenant databases are cloned from."""
    return _bounded(f"{base_name(control)}_template")


def tenant_database_name(control: str, slug: str) -> str:
    """Name of the database of the tenant *slug*."""
    return _bounded(f"{base_name(control)}_tenant_{re.sub(r'[^a-z0-9]', '_', slug.lower())}")


def _bounded(name: str) -> str:
    if len(name.encode()) <= NAME_LIMIT:
        return name
    tail = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name.encode()[: NAME_LIMIT - 11].decode(errors='ignore')}_{tail}"


@asynccontextmanager
async def connection(url: URL) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection in autocommit, for statements that can't run in a transaction.

    Raises:
        StoreUnavailable: the server can't be reached.
        StoreError: it refused this user or URL. Both messages say what to check.
    """
    async with await _connect(url) as opened:
        yield opened


@asynccontextmanager
async def connection_beside(url: URL) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection to the server of *url*, through another database where this one is missing.

    Raises:
        StoreUnavailable: the server can't be reached.
        StoreError: it refused this user or URL. Both messages say what to check.
    """
    async with await _connect_beside(url) as opened:
        yield opened


async def _connect_beside(url: URL) -> psycopg.AsyncConnection:
    *others, last = (url.database, *MAINTENANCE)
    for name in others:
        try:
            return await _connect(url.set(database=name))
        except StoreError as error:
            said = str(error.__cause__)
            if not ("database" in said and "does not exist" in said):
                raise
    return await _connect(url.set(database=last))


async def _connect(url: URL) -> psycopg.AsyncConnection:
    try:
        return await psycopg.AsyncConnection.connect(
            plain(url), autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_SECONDS
        )
    except psycopg.Error as error:
        raise refused(error, url) from error


def refused(error: psycopg.Error, url: URL) -> StoreError:
    """What a failed connection means, and what to check; never with the password.

    `StoreUnavailable` where another try may succeed.
    """
    said = " ".join(str(error).split())
    if url.password:
        said = said.replace(str(url.password), "***")
    wrong = next((hint for part, hint in WRONG if part in said), None)
    away = next((hint for part, hint in AWAY if part in said), "check the URL and the server")
    message = (
        f"Can't connect to {place(url)}: {wrong or away} (ACADEMY_DATABASE_URL names an external"
        f" server). It said: {said[:300]}"
    )
    return StoreError(message) if wrong else StoreUnavailable(message)


async def exists(server: psycopg.AsyncConnection, name: str) -> bool:
    """Whether the server has a database *name*."""
    found = await server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
    return await found.fetchone() is not None


async def ensure_control_database(control_url: str) -> bool:
    """Create the control database if it is missing; whether it was.

    Raises:
        StoreUnavailable: the server can't be reached.
        StoreError: it refused this user, or the user may not create databases.
    """
    url = read_url(control_url)
    assert url.database
    async with connection_beside(url) as server:
        if await exists(server, url.database):
            return False
        return await create(server, url.database)


async def create(
    server: psycopg.AsyncConnection, name: str, *, template: str | None = None
) -> bool:
    """Create a database, a clone of *template* where given; False when it is there already.

    Raises:
        StoreError: the user may not create databases, or the template stays in use.
    """
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template:
        statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    else:
        # template0: no objects of the site's own, and any encoding may be asked for.
        statement += sql.SQL(" TEMPLATE template0 ENCODING 'UTF8'")
    deadline = asyncio.get_running_loop().time() + CLONE_SECONDS
    while True:
        try:
            await server.execute(statement)
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False
        except psycopg.errors.ObjectInUse as error:
            if asyncio.get_running_loop().time() > deadline:
                raise StoreError(
                    f"{name} can't be cloned: somebody stays connected to {template}."
                    f" Close those sessions and try again. ({error})"
                ) from error
            await asyncio.sleep(0.1)
        except psycopg.errors.InsufficientPrivilege as error:
            user = server.info.user
            raise StoreError(
                f"The database user {user} may not create the database {name}. Give it the right"
                f' with: ALTER ROLE "{user}" CREATEDB; the academy keeps each tenant in a database'
                " of its own."
            ) from error
        except psycopg.Error as error:
            raise StoreError(f"The database {name} can't be created: {error}") from error
        else:
            return True


async def drop(server: psycopg.AsyncConnection, name: str) -> None:
    """Drop a database with everything in it, ending the sessions on it; fine if it is missing."""
    await server.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )


async def create_tenant_database(control_url: str, name: str) -> bool:
    """Clone the template into the database *name*; False when it is there already.

    Raises:
        StoreUnavailable: the server can't be reached.
        StoreError: no template yet (run `academy db upgrade`), or no right to create databases.
    """
    url = read_url(control_url)
    assert url.database
    template = template_name(url.database)
    async with connection(url) as server:
        if not await exists(server, template):
            raise StoreError(
                f"There is no template database {template}; run `academy db upgrade` first."
            )
        return await create(server, name, template=template)
