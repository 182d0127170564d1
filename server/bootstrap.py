"""Makes the databases, the first academy and the keys ready; run by the launcher at every start.

    python -m server.bootstrap

Prints one JSON line `{"link_token", "minutes", "changes"}`: the token of a one-time sign-in link
for the first person, how long it is good for, and what was changed in the databases. Exits with
one of `server.exits` and a sentence on standard error when that was not possible.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from graphs.settings import Home, Settings, read_settings
from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.errors import SchemaMismatch, StoreError, StoreUnavailable
from memory.tables.identity import Person, TenantRecord
from memory.upgrade import upgrade
from server.exits import Exit, Refusal
from tools.identity import service as identity
from tools.kit.clock import Clock, SystemClock
from tools.kit.deps import Caller
from tools.kit.errors import CapabilityError

LINK_MINUTES = 60
EMBEDDED_SECONDS = 90.0
"""Crash recovery of the embedded server's log takes seconds; this allows for a slow disk."""
EXTERNAL_SECONDS = 10.0
POLL_SECONDS = 0.05
KEYS = ("audit", "evidence", "standing")
"""What is signed: heads of the audit log, and trials by the evaluation worker alone."""
KEY_NAME = "command line"


async def bootstrap(settings: Settings) -> dict[str, object]:
    """Bring databases, first academy and keys up to date; see the module for the answer.

    Raises:
        Refusal: the database can't be reached or is newer than this release.
    """
    make_keys(settings.paths)
    changes = await _upgrade(settings)
    clock = SystemClock()
    control = Database(settings.control_url, pool_size=1)
    try:
        async with control.unit_of_work() as session:
            tenant, person = await identity.ensure_first_academy(session, clock)
            await _keep_command_line_key(session, settings.paths, tenant, person, clock)
            token = await identity.issue_link(session, person.id, minutes=LINK_MINUTES, clock=clock)
    finally:
        await control.dispose()
    return {"link_token": token, "minutes": LINK_MINUTES, "changes": changes}


def make_keys(home: Home) -> None:
    """Make the signing keys that are missing, readable by the owner only."""
    for name in KEYS:
        if not (home.keys / f"{name}.key").exists():
            private, public = new_key_pair()
            (home.keys / f"{name}.pub").write_bytes(public)
            write_key(home.keys / f"{name}.key", private.decode())


def write_key(path: Path, text: str) -> None:
    """Write *text* to *path*, whole or not at all, mode 0600."""
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    beside.replace(path)


async def _upgrade(settings: Settings) -> list[str]:
    """Upgrade the databases as soon as the server answers."""
    embedded = settings.database_url is None
    deadline = time.monotonic() + (EMBEDDED_SECONDS if embedded else EXTERNAL_SECONDS)
    while True:
        try:
            return await upgrade(settings.control_url)
        except StoreUnavailable as error:
            if time.monotonic() > deadline:
                raise Refusal(
                    Exit.DATABASE_UNREACHABLE,
                    f"{error}" if embedded else f"{error} {_RIGHT}",
                ) from None
        except SchemaMismatch as error:
            raise Refusal(Exit.DATABASE_NEWER, str(error)) from None
        except StoreError as error:
            raise Refusal(Exit.DATABASE_UNREACHABLE, f"{error} {_RIGHT}") from None
        await asyncio.sleep(POLL_SECONDS)


async def _keep_command_line_key(
    session: AsyncSession, home: Home, tenant: TenantRecord, person: Person, clock: Clock
) -> None:
    """Issue the command line's key where there is none, or one this database doesn't know."""
    path = home.keys / "cli.key"
    if path.exists():
        with contextlib.suppress(CapabilityError):
            await identity.resolve_key(session, path.read_text().strip(), "localhost", clock)
            return
    owner = Caller(
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        person_id=person.id,
        name=person.name,
        roles=frozenset({"operator", "staff"}),
        fleet=tenant.fleet,
    )
    write_key(path, await identity.issue_key(session, owner, KEY_NAME, clock=clock))


_RIGHT = (
    "Correct ACADEMY_DATABASE_URL (postgresql://user:password@host:port/database), or unset it to"
    " use the embedded PostgreSQL."
)


def main() -> int:
    """Run `bootstrap` from the environment's settings; the exit code."""
    try:
        answer = asyncio.run(bootstrap(read_settings()))
    except Refusal as refusal:
        sys.stderr.write(refusal.message + "\n")
        return refusal.code
    except (StoreError, CapabilityError) as error:
        sys.stderr.write(f"The databases could not be made ready: {error}\n")
        return Exit.START_FAILED
    sys.stdout.write(json.dumps(answer) + "\n")
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
