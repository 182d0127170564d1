"""What people do about standing approvals: give, list and revoke them.

An approval in advance names one operation and one target, ends by itself after 30 days at most,
and counts only while the database is away; while it is there, people are asked as ever.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.ids import new_id
from memory.tables.standing import StandingApproval
from tools.autonomy import policy
from tools.autonomy.questions import require_person
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.standing_repository import StandingRepository
from tools.autonomy.standing_rules import never
from tools.autonomy.standing_schemas import StandingView
from tools.autonomy.views import GONE
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, Forbidden, Invalid, NotFound
from tools.kit.infrastructure import Fleet
from tools.kit.operation import Operation

MOST_REASON = 1000
"""Characters kept of the reason."""
MOST_LISTED = 200
NAMED = 12
"""Targets an error names at most."""

State = Literal["active", "frozen", "expired", "revoked"]


async def give(
    session: AsyncSession,
    caller: Caller,
    operation: str,
    target: str,
    *,
    days: int,
    reason: str,
    operations: Mapping[str, Operation[Any]],
    fleet: Fleet,
    clock: Clock,
) -> StandingView:
    """A person approves *operation* on *target* in advance, for *days* (1 to 30).

    Raises:
        Forbidden: no person, no access to the fleet, or the operation needs a person each time.
        NotFound: there is no such operation or target; names those there are.
        Invalid: no reason, or too many days.
        Conflict: it is approved in advance already.
    """
    person_id = require_person(caller)
    known = operations.get(operation)
    if known is None:
        raise NotFound(f"There is no operation {operation}. There are: {', '.join(operations)}.")
    if why := never(known):
        raise Forbidden(f"This can't be approved in advance: {why}.")
    targets = known.targets(fleet)
    if target not in targets:
        names = ", ".join(sorted(targets)[:NAMED]) or "none"
        raise NotFound(f"{known.title} has no target {target}. Targets: {names}.")
    if not 1 <= days <= policy.STANDING_APPROVAL_DAYS:
        raise Invalid(f"An approval in advance holds 1 to {policy.STANDING_APPROVAL_DAYS} days.")
    said = audit.storable(reason.strip()[:MOST_REASON])
    if not said:
        raise Invalid("Say why it is approved in advance; everybody who looks will read it.")
    at = clock.now()
    repository = StandingRepository(session)
    await AutonomyRepository(session).hold_proposals()  # two who give the same come one by one
    if there := await repository.active(at, operation=operation, target=target):
        raise Conflict(
            f"{there[0].id} approves that until {there[0].expires_at:%Y-%m-%d %H:%M} UTC already; "
            "revoke it first.",
            standing_approval_id=there[0].id,
        )
    row = StandingApproval(
        id=new_id("sta"),
        tenant_id=caller.tenant_id,
        operation=operation,
        target=target,
        reason=said,
        person_id=person_id,
        given_at=at,
        expires_at=at + timedelta(days=days),
        revoked_at=None,
        revoked_by=None,
    )
    repository.add(row)
    await session.flush()
    await audit.append(
        session,
        at=at,
        actor=caller.actor,
        kind="standing.given",
        subject=row.id,
        body={
            "operation": operation,
            "target": target,
            "reason": said,
            "expires_at": row.expires_at.isoformat(),
        },
    )
    return (await _views(session, [row], operations, at))[0]


async def revoke(
    session: AsyncSession,
    caller: Caller,
    approval_id: str,
    *,
    operations: Mapping[str, Operation[Any]],
    clock: Clock,
) -> StandingView:
    """A person takes an approval back; its permits are the caller's to remove, after the commit.

    Raises:
        Forbidden: no person, or no access to the fleet.
        NotFound: there is no such approval, or not for this caller.
        Conflict: it was revoked before, or has ended.
    """
    person_id = require_person(caller)
    at = clock.now()
    row = await StandingRepository(session).approval(approval_id)
    if row is None or _readable(caller) not in (None, row.tenant_id):
        raise NotFound(f"There is no standing approval {approval_id}.")
    if row.revoked_at is not None:
        raise Conflict(f"{approval_id} was revoked already.")
    if row.expires_at <= at:
        raise Conflict(f"{approval_id} ended at {row.expires_at:%Y-%m-%d %H:%M} UTC.")
    row.revoked_at, row.revoked_by = at, person_id
    await session.flush()
    await audit.append(
        session,
        at=at,
        actor=caller.actor,
        kind="standing.revoked",
        subject=row.id,
        body={"operation": row.operation, "target": row.target},
    )
    return (await _views(session, [row], operations, at))[0]


async def list_standing(
    session: AsyncSession,
    caller: Caller,
    *,
    operations: Mapping[str, Operation[Any]],
    clock: Clock,
) -> list[StandingView]:
    """All standing approvals the caller may read, newest first.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    rows = await StandingRepository(session).listed(_readable(caller), limit=MOST_LISTED)
    return await _views(session, list(rows), operations, clock.now())


async def _views(
    session: AsyncSession,
    rows: list[StandingApproval],
    operations: Mapping[str, Operation[Any]],
    at: datetime,
) -> list[StandingView]:
    repository = AutonomyRepository(session)
    people = {row.person_id for row in rows} | {r.revoked_by for r in rows if r.revoked_by}
    names = await repository.names(people)
    frozen = {freeze.operation for freeze in await repository.freezes()}
    return [
        StandingView(
            id=row.id,
            operation=row.operation,
            title=operations[row.operation].title if row.operation in operations else "",
            target=row.target,
            reason=row.reason,
            given_by=names.get(row.person_id, GONE),
            given_at=row.given_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            revoked_by=names.get(row.revoked_by, GONE) if row.revoked_by else None,
            state=_state(row, frozen, at),
        )
        for row in rows
    ]


def _state(row: StandingApproval, frozen: set[str], at: datetime) -> State:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= at:
        return "expired"
    return "frozen" if frozen & {row.operation, policy.CHANGE_FREEZE} else "active"


def _readable(caller: Caller) -> str | None:
    """The tenant whose rows the caller may read; None for all of them."""
    return None if "operator" in caller.roles else caller.tenant_id
