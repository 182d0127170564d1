"""How actions and permits change: each step along an arrow, its audit row in the same unit of work.

Callers lock the rows first (order in `repository.py`); the audit head is locked last, here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.ids import new_id
from memory.tables.autonomy import Action, Approval, Permit
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.states import require_arrow
from tools.kit.digest import digest
from tools.kit.errors import Conflict
from tools.kit.ledger import Purpose

STOPPING = {
    "failed": "failed",
    "not_helped": "did not help",
    "stuck": "is stuck",
    "withdrawn": "was withdrawn",
    "permit_expired": "was not begun in time",
}
"""States of an action after which the later ones of its approval are withdrawn, in words."""


class Tampered(Exception):
    """A stored action no longer is what its digest was made of."""


def action_digest(
    *,
    operation: str,
    target: str,
    arguments: Mapping[str, Any],
    tenant_id: str,
    planned_on: Mapping[str, Any],
) -> str:
    """What a person or the gate says yes to: SHA-256 over all that the effect depends on."""
    return digest(
        audit.storable(
            {
                "operation": operation,
                "target": target,
                "arguments": arguments,
                "tenant": tenant_id,
                "state": planned_on,
            }
        )
    )


def digest_of_row(action: Action) -> str:
    """The digest of an action as it is stored now."""
    return action_digest(
        operation=action.operation,
        target=action.target,
        arguments=action.arguments,
        tenant_id=action.tenant_id,
        planned_on=action.plan["state"],
    )


def question_digest(kind: str, action_digests: Sequence[str]) -> str:
    """What an answer to an approval must show: its kind and its actions' digests in order."""
    return digest([kind, *action_digests])


async def move(
    session: AsyncSession,
    action: Action,
    state: str,
    *,
    at: datetime,
    actor: str,
    note: str = "",
    body: Mapping[str, Any] | None = None,
) -> None:
    """Move a locked action along an arrow and append the step to the audit log.

    Raises:
        Conflict: there is no such arrow.
    """
    require_arrow(action.id, action.state, state)
    action.state = state
    action.updated_at = at
    if note:
        action.note = note
    await session.flush()
    await audit.append(
        session,
        at=at,
        actor=actor,
        kind=f"action.{state}",
        subject=action.id,
        body={
            "operation": action.operation,
            "target": action.target,
            "digest": action.digest,
            **({"note": note} if note else {}),
            **(body or {}),
        },
    )


async def withdraw_rest(
    session: AsyncSession, action: Action, later: Sequence[Action], *, at: datetime, actor: str
) -> None:
    """Withdraw the locked *later* actions of an approval because *action* did not succeed."""
    for sibling in later:
        await move(
            session,
            sibling,
            "withdrawn",
            at=at,
            actor=actor,
            note=f"Stopped, because what came first on {action.target} {STOPPING[action.state]}.",
        )


async def issue_permit(
    session: AsyncSession,
    action: Action,
    purpose: Purpose,
    *,
    granted_by: str,
    actor: str,
    at: datetime,
    valid_for: timedelta,
) -> Permit:
    """Give a locked action the right to run once; an unused permit that ran out is renewed.

    Raises:
        Conflict: it has been used, or is still good.
    """
    repository = AutonomyRepository(session)
    permit = await repository.permit(action.id, purpose, lock=True)
    if taken(permit, at):
        raise Conflict(f"{action.id} has its permit to {purpose} already.")
    if permit is None:
        permit = Permit(id=new_id("per"), action_id=action.id, purpose=purpose, consumed_at=None)
        repository.add(permit)
    permit.digest = action.digest
    permit.tenant_id = action.tenant_id
    permit.granted_by = granted_by
    permit.issued_at = at
    permit.expires_at = at + valid_for
    await session.flush()
    await audit.append(
        session,
        at=at,
        actor=actor,
        kind="permit.issued",
        subject=permit.id,
        body={
            "action": action.id,
            "purpose": purpose,
            "digest": permit.digest,
            "granted_by": granted_by,
            "expires_at": permit.expires_at.isoformat(),
        },
    )
    return permit


def taken(permit: Permit | None, at: datetime) -> bool:
    """Whether a permit was used or is still good, so that none may be issued in its place."""
    return permit is not None and (permit.consumed_at is not None or permit.expires_at > at)


def require_permit(permit: Permit | None, action: Action, purpose: Purpose, at: datetime) -> Permit:
    """The locked permit, if it lets this action run now.

    Raises:
        Conflict: there is none, it was used, or it ran out.
        Tampered: the action or the permit was changed after it was granted.
    """
    if permit is None:
        raise Conflict(f"{action.id} has no permit to {purpose}; nobody has allowed it yet.")
    if permit.consumed_at is not None:
        raise Conflict(f"The permit of {action.id} to {purpose} was used at {permit.consumed_at}.")
    if permit.expires_at <= at:
        raise Conflict(f"The permit of {action.id} to {purpose} ran out at {permit.expires_at}.")
    if permit.tenant_id != action.tenant_id:
        raise Tampered("the permit was granted to another tenant")
    if permit.digest != action.digest:
        raise Tampered("the permit was granted for another digest")
    require_untouched(action)
    return permit


def require_untouched(action: Action) -> None:
    """Refuse an action whose stored arguments or planned-on state don't give its digest.

    Raises:
        Tampered: they don't.
    """
    if digest_of_row(action) != action.digest:
        raise Tampered("its stored operation, target, arguments or state don't give its digest")


async def expire(
    session: AsyncSession, approval: Approval, actions: Sequence[Action], *, at: datetime
) -> None:
    """Close a locked question that nobody answered in time."""
    await close_question(session, approval, "expired", at=at, actor="gate", reason="not answered")
    for action in actions:
        if action.state == "asked":
            note = f"Nobody answered until {approval.expires_at:%Y-%m-%d %H:%M} UTC."
            await move(session, action, "expired", at=at, actor="gate", note=note)


async def close_question(
    session: AsyncSession,
    approval: Approval,
    state: str,
    *,
    at: datetime,
    actor: str,
    reason: str = "",
) -> None:
    """Settle a locked pending approval and append that to the audit log."""
    approval.state = state
    if state in ("approved", "denied"):
        approval.decided_at = at
    await session.flush()
    await audit.append(
        session,
        at=at,
        actor=actor,
        kind=f"approval.{state}",
        subject=approval.id,
        body={
            "kind": approval.kind,
            "title": approval.title,
            "digest": approval.digest,
            **({"reason": reason} if reason else {}),
        },
    )
