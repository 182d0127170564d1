"""Freezes between the folder `standing` and the database: stored, lifted, and brought in later."""

import asyncio
from collections.abc import Collection
from pathlib import Path

import structlog

from memory.database import Database
from memory.errors import StoreUnavailable
from tools.autonomy import freeze_markers, freezes
from tools.autonomy.standing_lock import held
from tools.autonomy.standing_schemas import FreezeMarker
from tools.autonomy.standing_seal import Seal
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, Unavailable

log = structlog.get_logger(__name__)


async def freeze(
    database: Database,
    folder: Path,
    seal: Seal | None,
    caller: Caller,
    operation: str,
    *,
    reason: str,
    clock: Clock,
) -> int:
    """Freeze *operation* (`*` for all); how many standing permits were taken back.

    The marker is on disk and the permits are gone before the row is stored, and the marker goes
    after it: there is no moment in which the row says frozen and the healer could still act.

    Raises:
        Forbidden, Invalid, Conflict: as `freezes.freeze`; nothing changed but permits, which are
            issued again.
        Unavailable: the database is away; it is frozen on this machine, and stored when it answers.
        OSError: the folder can't be written.
    """
    order = freezes.ordered(caller, operation, reason=reason, clock=clock)
    async with held(folder):
        fresh, gone = freeze_markers.place(folder, order, seal)
    try:
        async with database.unit_of_work() as session:
            await freezes.freeze(session, order)
    except StoreUnavailable as error:
        raise Unavailable(
            f"The database is away. {operation} is frozen on this machine: {gone} standing permits "
            "were taken back and the healer does nothing of it without asking. It becomes a freeze "
            "everywhere when the database answers."
        ) from error
    except Conflict:
        if not fresh or await _take_off(folder, order):
            raise
        return gone  # the healer stored the marker in this moment, and that is what was found
    await _take_off(folder, order)
    return gone


async def _take_off(folder: Path, order: FreezeMarker) -> bool:
    """Remove the marker of *order*; whether it was there still."""
    async with held(folder):
        there = freeze_markers.is_of(folder, order)
        if there:
            freeze_markers.remove(folder, order.operation)
        return there


async def thaw(
    database: Database, folder: Path, caller: Caller, operation: str, *, clock: Clock
) -> None:
    """Lift a freeze, its row and its marker.

    The marker goes last: with the database away nothing is lifted, and nobody who dies between
    lifts half of it.

    Raises:
        Forbidden, NotFound: as `freezes.thaw`.
        StoreUnavailable: the database is away; it stays frozen.
        OSError: the folder can't be written.
    """
    async with held(folder):
        marked = freeze_markers.is_placed(folder, operation)
        async with database.unit_of_work() as session:
            await freezes.thaw(session, caller, operation, clock=clock, marked=marked)
        freeze_markers.remove(folder, operation)


async def land(database: Database, folder: Path, seal: Seal, clock: Clock) -> Collection[str]:
    """Bring the folder's freezes into the database, one unit of work for each; their operations.

    Raises:
        StoreError: the database went away again; what is left stays frozen on this machine.
        OSError: the folder can't be written.
    """
    if not freeze_markers.there_are(folder):
        return ()
    landed = []
    async with held(folder):
        for path in await asyncio.to_thread(freeze_markers.found, folder):
            marker, problem = freeze_markers.read(path, seal, clock.now())
            async with database.unit_of_work() as session:
                await freezes.store(
                    session,
                    marker,
                    at=clock.now(),
                    ordered_at=marker.at.isoformat(),
                    without_database=True,
                    marker=path.name,
                    problem=problem,
                )
            if problem:
                path.replace(path.with_name(f"refused.{path.name}"))
                log.error("freeze.marker_unreadable", file=path.name, why=problem)
            else:
                freeze_markers.remove(folder, marker.operation)
            landed.append(marker.operation)
    return landed
