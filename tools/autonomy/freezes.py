"""What a person does about autonomy itself: order that an operation always asks, and lift that."""

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from tools.autonomy.questions import require_person
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.standing_schemas import FreezeMarker
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, Invalid, NotFound

MOST_REASON = 1000
"""Characters kept of the reason."""


async def freeze(session: AsyncSession, order: FreezeMarker) -> None:
    """A person orders that an operation (`*` for all of them) always asks, from now on.

    Raises:
        Conflict: it is frozen already.
    """
    if not await store(session, order, at=order.at):
        raise Conflict(f"{order.operation} is frozen already.")


def ordered(caller: Caller, operation: str, *, reason: str, clock: Clock) -> FreezeMarker:
    """A person's order as it is kept.

    Raises:
        Forbidden: no person, or no access to the fleet.
        Invalid: no reason is given.
    """
    person_id = require_person(caller)
    said = audit.storable(reason.strip()[:MOST_REASON])
    if not said:
        raise Invalid("Say why it is frozen; everybody who is asked will read it.")
    return FreezeMarker(
        operation=operation, reason=said, person_id=person_id, actor=caller.actor, at=clock.now()
    )


async def store(
    session: AsyncSession, order: FreezeMarker, *, at: datetime, **details: Any
) -> bool:
    """Write *order* and its audit row, with *details*; False, and no row, if frozen already."""
    made = await AutonomyRepository(session).add_freeze(
        order.operation, order.reason, order.person_id, order.at
    )
    if made:
        await audit.append(
            session,
            at=at,
            actor=order.actor,
            kind="autonomy.frozen",
            subject=order.operation,
            body={"reason": order.reason, **details},
        )
    return made


async def thaw(
    session: AsyncSession, caller: Caller, operation: str, *, clock: Clock, marked: bool = False
) -> None:
    """A person lifts a freeze; what the gate then allows still depends on evidence.

    Where it is *marked*, a marker on disk freezes it too, and it may be that alone which is lifted.

    Raises:
        Forbidden: no person, or no access to the fleet.
        NotFound: *operation* isn't frozen by its name.
    """
    require_person(caller)
    stored = await AutonomyRepository(session).remove_freeze(operation)
    if not stored and not marked:
        raise NotFound(f"{operation} isn't frozen.")
    await audit.append(
        session,
        at=clock.now(),
        actor=caller.actor,
        kind="autonomy.thawed",
        subject=operation,
        body={} if stored else {"marker": True},
    )


async def find(session: AsyncSession, caller: Caller, operation: str) -> str:
    """Why *operation* (`*` for all of them) is frozen by its own name; empty where it isn't.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    frozen = await AutonomyRepository(session).freezes()
    return next((one.reason for one in frozen if one.operation == operation), "")
