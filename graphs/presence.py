"""Which processes are there: a heartbeat is a lease row that lapses when its process dies.

Several workers of one kind each hold a row `process:<kind>/<id>`; the owner column carries what
the process says of itself. Control database; imported by web replicas, so memory and kit alone.
"""

import json
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.tables.leases import Lease
from tools.kit.clock import Clock
from tools.kit.operation import Value

HEARTBEAT_SECONDS = 3.0
"""How often a process renews its row."""
LAPSE_SECONDS = 12.0
"""A process silent for this long counts as gone: four missed heartbeats."""


class Presence(Value):
    """What one living process says of itself."""

    state: Literal["starting", "ready"]
    model: str
    """`embedded`, or the name of the configured model."""
    pid: int


async def beat(
    session: AsyncSession, kind: str, worker_id: str, presence: Presence, *, clock: Clock
) -> None:
    """Say that the process is there, for the next `LAPSE_SECONDS`."""
    values = {
        "owner": json.dumps(presence.model_dump(), sort_keys=True),
        "expires_at": clock.now() + timedelta(seconds=LAPSE_SECONDS),
    }
    row = insert(Lease).values(name=f"process:{kind}/{worker_id}", fence=1, **values)
    await session.execute(row.on_conflict_do_update(index_elements=[Lease.name], set_=values))


async def leave(session: AsyncSession, kind: str, worker_id: str) -> None:
    """Say that the process has ended in order."""
    await session.execute(delete(Lease).where(Lease.name == f"process:{kind}/{worker_id}"))


async def sweep(session: AsyncSession, kind: str, *, before: datetime) -> None:
    """Forget processes whose rows lapsed before *before*."""
    await session.execute(
        delete(Lease).where(Lease.name.startswith(f"process:{kind}/"), Lease.expires_at < before)
    )


async def present(session: AsyncSession, kind: str, *, clock: Clock) -> Presence | None:
    """The readiest living process of *kind*, or None when there is none."""
    owners = await session.scalars(
        select(Lease.owner).where(
            Lease.name.startswith(f"process:{kind}/"), Lease.expires_at > clock.now()
        )
    )
    found = [Presence.model_validate_json(owner) for owner in owners]
    return min(found, key=lambda presence: presence.state != "ready", default=None)
