"""Taking back what was asked or permitted, before anybody has begun it."""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from tools.autonomy.records import close_question, move
from tools.autonomy.repository import AutonomyRepository
from tools.kit.clock import Clock
from tools.kit.ledger import Purpose

PURPOSES: tuple[Purpose, ...] = ("apply", "undo")
SUPERVISOR = "engine:supervisor"


async def withdraw_question(
    session: AsyncSession, approval_id: str, *, reason: str, clock: Clock
) -> str:
    """Withdraw a question that is still open; the state it is in afterwards.

    A question that was decided a moment before keeps its decision; one that is gone counts as
    withdrawn.
    """
    repository = AutonomyRepository(session)
    approval = await repository.approval(approval_id, lock=True)
    if approval is None:
        return "withdrawn"
    if approval.state != "pending":
        return approval.state
    at = clock.now()
    actions = await repository.actions_of(approval, lock=True)
    await close_question(session, approval, "withdrawn", at=at, actor=SUPERVISOR, reason=reason)
    for action in actions:
        if action.state == "asked":
            await move(session, action, "withdrawn", at=at, actor=SUPERVISOR, note=reason)
    return "withdrawn"


async def withdraw_permits(
    session: AsyncSession, action_ids: Iterable[str], *, reason: str, clock: Clock
) -> int:
    """Take back the unused permits of actions, to apply and to undo; how many there were.

    What was begun goes on to its end: only its driver knows what has happened.
    """
    at = clock.now()
    repository = AutonomyRepository(session)
    ids = sorted(set(action_ids))
    known = [a for a in [await repository.action(action_id) for action_id in ids] if a]
    for approval_id in sorted({a.approval_id for a in known if a.approval_id}):
        await repository.approval(approval_id, lock=True)
    actions = [await repository.action(a.id, lock=True) for a in known]
    unused = [
        permit
        for a in known
        for purpose in PURPOSES
        if (permit := await repository.permit(a.id, purpose, lock=True))
        and permit.consumed_at is None
        and permit.expires_at > at
    ]
    for permit in unused:
        permit.expires_at = at
        await session.flush()
        await audit.append(
            session,
            at=at,
            actor=SUPERVISOR,
            kind="permit.withdrawn",
            subject=permit.id,
            body={"action": permit.action_id, "purpose": permit.purpose, "reason": reason},
        )
    for action in actions:
        if action is not None and action.state == "permitted":
            await move(session, action, "withdrawn", at=at, actor=SUPERVISOR, note=reason)
    return len(unused)
