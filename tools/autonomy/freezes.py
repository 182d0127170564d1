"""What a person does about autonomy itself: order that an operation always asks, and lift that."""

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from tools.autonomy.questions import require_person
from tools.autonomy.repository import AutonomyRepository
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, Invalid, NotFound

MOST_REASON = 1000
"""Characters kept of the reason."""


async def freeze(
    session: AsyncSession, caller: Caller, operation: str, *, reason: str, clock: Clock
) -> None:
    """A person orders that *operation* (`*` for all of them) always asks, from now on.

    Raises:
        Forbidden: no person, or no access to the fleet.
        Invalid: no reason is given.
        Conflict: it is frozen already.
    """
    person_id = require_person(caller)
    said = audit.storable(reason.strip()[:MOST_REASON])
    if not said:
        raise Invalid("Say why it is frozen; everybody who is asked will read it.")
    at = clock.now()
    if not await AutonomyRepository(session).add_freeze(operation, said, person_id, at):
        raise Conflict(f"{operation} is frozen already.")
    await audit.append(
        session,
        at=at,
        actor=caller.actor,
        kind="autonomy.frozen",
        subject=operation,
        body={"reason": said},
    )


async def thaw(session: AsyncSession, caller: Caller, operation: str, *, clock: Clock) -> None:
    """A person lifts a freeze; what the gate then allows still depends on evidence.

    Raises:
        Forbidden: no person, or no access to the fleet.
        NotFound: *operation* isn't frozen by its name.
    """
    require_person(caller)
    if not await AutonomyRepository(session).remove_freeze(operation):
        raise NotFound(f"{operation} isn't frozen.")
    await audit.append(
        session,
        at=clock.now(),
        actor=caller.actor,
        kind="autonomy.thawed",
        subject=operation,
        body={},
    )


async def find(session: AsyncSession, caller: Caller, operation: str) -> str:
    """Why *operation* (`*` for all of them) is frozen by its own name; empty where it isn't.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    frozen = await AutonomyRepository(session).freezes()
    return next((one.reason for one in frozen if one.operation == operation), "")
