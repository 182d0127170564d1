"""Leases: one holder of a named thing at a time, as rows, so that a pooler may sit in between.

A lease that isn't renewed runs out and may be taken over. Each new holder gets a higher fence; who
writes under a lease calls `check` in the same transaction, so that a holder that slept too long
writes nothing. Times come from the caller's clock; processes on one lease need clocks that agree to
well under its length.
"""

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.errors import LeaseLost
from memory.tables.leases import Lease


async def acquire(
    session: AsyncSession, name: str, owner: str, *, seconds: float, now: datetime
) -> int | None:
    """Take the lease *name* if it is free or has run out; the fence, or None while it is held.

    A lease held by *owner* itself counts as held: one owner's two tasks exclude each other too.
    """
    fresh = insert(Lease).values(
        name=name, owner=owner, expires_at=now + timedelta(seconds=seconds), fence=1
    )
    taken = fresh.on_conflict_do_update(
        index_elements=[Lease.name],
        set_={
            "owner": fresh.excluded.owner,
            "expires_at": fresh.excluded.expires_at,
            "fence": Lease.fence + 1,
        },
        where=Lease.expires_at <= now,
    ).returning(Lease.fence)
    return (await session.execute(taken)).scalar_one_or_none()


async def renew(
    session: AsyncSession, name: str, owner: str, fence: int, *, seconds: float, now: datetime
) -> None:
    """Hold the lease for *seconds* from *now*; one that ran out but nobody took is held again.

    Raises:
        LeaseLost: somebody else has it, or it was released.
    """
    renewed = await session.execute(
        update(Lease)
        .where(Lease.name == name, Lease.owner == owner, Lease.fence == fence)
        .values(expires_at=now + timedelta(seconds=seconds))
        .returning(Lease.fence)
    )
    if renewed.scalar_one_or_none() is None:
        raise _lost(name, owner, fence)


async def release(
    session: AsyncSession, name: str, owner: str, fence: int, *, now: datetime
) -> None:
    """Let go of the lease; nothing happens when somebody else has it by now.

    The row stays, so that the fence goes on growing.
    """
    await session.execute(
        update(Lease)
        .where(Lease.name == name, Lease.owner == owner, Lease.fence == fence)
        .values(owner="", expires_at=now)
    )


async def check(session: AsyncSession, name: str, owner: str, fence: int) -> None:
    """Make sure that this transaction writes as the holder.

    The row is locked until the transaction ends, so a takeover waits for it.

    Raises:
        LeaseLost: somebody else has it, or it was released.
    """
    held = await session.execute(
        select(Lease.fence)
        .where(Lease.name == name, Lease.owner == owner, Lease.fence == fence)
        .with_for_update(read=True)
    )
    if held.scalar_one_or_none() is None:
        raise _lost(name, owner, fence)


def _lost(name: str, owner: str, fence: int) -> LeaseLost:
    return LeaseLost(f"{owner} no longer holds the lease {name} under fence {fence}.")
