"""What people do with the gate: read actions and the audit log, answer questions, ask for undos.

Every function takes the session first and then who asks, and refuses a caller without the fleet.
Reading shows an operator everything and others what belongs to their tenant; an answer counts only
from a person of the question's own tenant.
"""

from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.tables.autonomy import Action
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.questions import (
    require_answerable,
    require_person,
    require_second_person,
    require_shown,
    require_undoable,
    undo_question,
)
from tools.autonomy.records import close_question, expire, issue_permit, move, withdraw_rest
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.schemas import (
    ActionView,
    ApprovalState,
    ApprovalView,
    AuditView,
)
from tools.autonomy.views import action_views, approval_view, audit_view
from tools.autonomy.withdrawing import withdraw_permits as withdraw_permits
from tools.autonomy.withdrawing import withdraw_question as withdraw_question
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Conflict, NotFound
from tools.kit.ledger import Purpose

MOST_ROWS = 500
"""Rows one call answers at most."""

Found = Literal["done", "not-done"]
"""What a person saw of an effect nobody could tell."""

MOST_REASON = 1000
"""Characters kept of what a person says."""


async def list_approvals(
    session: AsyncSession, caller: Caller, *, state: ApprovalState | None = None, limit: int = 50
) -> list[ApprovalView]:
    """Questions to people, newest first.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    repository = AutonomyRepository(session)
    rows = await repository.list_approvals(_readable(caller), state=state, limit=_bounded(limit))
    return [await approval_view(repository, row) for row in rows]


async def get_approval(session: AsyncSession, caller: Caller, approval_id: str) -> ApprovalView:
    """One question with its actions.

    Raises:
        Forbidden: the caller may not see the fleet.
        NotFound: there is no such approval, or not for this caller.
    """
    caller.require_fleet()
    repository = AutonomyRepository(session)
    approval = await repository.approval(approval_id)
    if approval is None or not _may_read(caller, approval.tenant_id):
        raise NotFound(f"There is no approval {approval_id}.")
    return await approval_view(repository, approval)


async def decide(
    session: AsyncSession,
    caller: Caller,
    approval_id: str,
    *,
    decision: Literal["approve", "deny"],
    digest: str,
    clock: Clock,
    config: AutonomyConfig,
) -> ApprovalView:
    """A person answers a question; *digest* is that of what they were shown.

    Approving gives each action one permit; nothing is applied here. Only the first answer counts.

    Raises:
        Forbidden: no person, no access to the fleet, or a second person is needed.
        NotFound: there is no such approval for this tenant.
        Conflict: already answered, expired, or what would be done isn't what was shown.
    """
    person_id = require_person(caller)
    at = clock.now()
    repository = AutonomyRepository(session)
    approval = await repository.approval(approval_id, lock=True)
    if approval is None or approval.tenant_id != caller.tenant_id:
        raise NotFound(f"There is no approval {approval_id}.")
    require_answerable(approval, at)
    actions = await repository.actions_of(approval, lock=True)
    require_shown(approval, actions, digest)
    if decision == "approve":
        require_second_person(caller, actions)
    approval.decided_by = person_id
    state = "approved" if decision == "approve" else "denied"
    await close_question(session, approval, state, at=at, actor=caller.actor)
    purpose: Purpose = "undo" if approval.kind == "undo" else "apply"
    for action in actions:
        if decision == "approve":
            await issue_permit(
                session,
                action,
                purpose,
                granted_by=person_id,
                actor=caller.actor,
                at=at,
                valid_for=config.permit_for,
            )
        if purpose == "apply":
            await move(
                session,
                action,
                "permitted" if decision == "approve" else "denied",
                at=at,
                actor=caller.actor,
                note="" if decision == "approve" else f"{caller.name} said no.",
            )
    return await approval_view(repository, approval)


async def list_actions(
    session: AsyncSession,
    caller: Caller,
    *,
    limit: int = 50,
    before: str | None = None,
    incident_id: str | None = None,
    target: str | None = None,
) -> list[ActionView]:
    """Actions, newest first; *before* is the id of the last one of the page before.

    Raises:
        Forbidden: the caller may not see the fleet.
        NotFound: there is no action *before*.
    """
    caller.require_fleet()
    repository = AutonomyRepository(session)
    cursor = None
    if before is not None:
        last = await _readable_action(repository, caller, before)
        cursor = (last.created_at, last.id)
    rows = await repository.list_actions(
        _readable(caller),
        limit=_bounded(limit),
        before=cursor,
        incident_id=incident_id,
        target=target,
    )
    return await action_views(repository, rows)


async def get_action(session: AsyncSession, caller: Caller, action_id: str) -> ActionView:
    """One action.

    Raises:
        Forbidden: the caller may not see the fleet.
        NotFound: there is no such action, or not for this caller.
    """
    caller.require_fleet()
    repository = AutonomyRepository(session)
    action = await _readable_action(repository, caller, action_id)
    return (await action_views(repository, [action]))[0]


async def ask_undo(
    session: AsyncSession,
    caller: Caller,
    action_id: str,
    *,
    clock: Clock,
    config: AutonomyConfig,
    thread_id: str | None = None,
    run_id: str | None = None,
) -> ApprovalView:
    """Ask a person whether to undo a verified action; a question that waits already is answered.

    So is the approved question of the same *thread_id* and *run_id* until the undo has ended: a run
    begun again after a crash finds its own card, and one that asks on and on is told what became
    of it.

    Raises:
        Forbidden: the caller may not see the fleet.
        NotFound: there is no such action for this tenant.
        Conflict: it isn't verified, can't be undone, its undo was permitted before, or a person of
            the same run has said no.
    """
    caller.require_fleet()
    at = clock.now()
    repository = AutonomyRepository(session)
    action = await repository.action(action_id, lock=True)
    if action is None or action.tenant_id != caller.tenant_id:
        raise NotFound(f"There is no action {action_id}.")
    if action.undo_approval_id is not None:
        asked = await repository.approval(action.undo_approval_id)
        waits = asked is not None and asked.state == "pending" and asked.expires_at > at
        same = (
            asked is not None and run_id and (asked.thread_id, asked.run_id) == (thread_id, run_id)
        )
        if asked is not None and (
            waits or (same and asked.state == "approved" and _undo_due(action))
        ):
            return await approval_view(repository, asked)
        if asked is not None and same and asked.state in ("denied", "expired"):
            raise Conflict(f"A person was asked to undo {action_id} already: {asked.state}.")
    await require_undoable(repository, action, at)
    approval = undo_question(
        caller, action, at=at, config=config, thread_id=thread_id, run_id=run_id
    )
    repository.add(approval)
    action.undo_approval_id = approval.id
    await session.flush()
    await audit.append(
        session,
        at=at,
        actor=caller.actor,
        kind="approval.asked",
        subject=approval.id,
        body={
            "kind": "undo",
            "title": approval.title,
            "digest": approval.digest,
            "actions": [action.id],
            "expires_at": approval.expires_at.isoformat(),
        },
    )
    return await approval_view(repository, approval)


async def release_stuck(
    session: AsyncSession,
    caller: Caller,
    action_id: str,
    *,
    found: Found,
    clock: Clock,
    note: str = "",
) -> ActionView:
    """A person has looked at a stuck action: close it with what they *found*, freeing its target.

    It ends as escalated either way: what a person saw is recorded, and is no check of the academy.

    Raises:
        Forbidden: no person, or no access to the fleet.
        NotFound: there is no such action for this tenant.
        Conflict: it isn't stuck.
    """
    require_person(caller)
    repository = AutonomyRepository(session)
    action = await repository.action(action_id, lock=True)
    if action is None or action.tenant_id != caller.tenant_id:
        raise NotFound(f"There is no action {action_id}.")
    if action.state != "stuck":
        raise Conflict(f"{action_id} is {action.state}, not stuck.", state=action.state)
    words = audit.storable(note.strip()[:MOST_REASON])
    said = f"{caller.name} looked: it {'was' if found == 'done' else 'was not'} done."
    text = f"{said} {words}".rstrip()
    await move(session, action, "escalated", at=clock.now(), actor=caller.actor, note=text)
    return (await action_views(repository, [action]))[0]


async def list_audit(
    session: AsyncSession,
    caller: Caller,
    *,
    limit: int = 100,
    before_seq: int | None = None,
    kind_prefix: str | None = None,
) -> list[AuditView]:
    """Rows of the audit log, newest first.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    rows = await AutonomyRepository(session).audit(
        limit=_bounded(limit), before_seq=before_seq, kind_prefix=kind_prefix
    )
    return [audit_view(row) for row in rows]


async def expire_due(session: AsyncSession, clock: Clock) -> int:
    """Close questions nobody answered and permits nobody used in time; answers how many."""
    at = clock.now()
    repository = AutonomyRepository(session)
    questions = await repository.due_approvals(at)
    asked = [await repository.actions_of(approval, lock=True) for approval in questions]
    unused = await repository.permits_run_out(at)
    later = [await repository.later_siblings(action) for action in unused]
    for approval, actions in zip(questions, asked, strict=True):
        await expire(session, approval, actions, at=at)
    for action, siblings in zip(unused, later, strict=True):
        if action.state != "permitted":
            continue
        note = "Nobody began it while its permit was valid."
        await move(session, action, "permit_expired", at=at, actor="gate", note=note)
        rest = [sibling for sibling in siblings if sibling.state in ("asked", "permitted")]
        await withdraw_rest(session, action, rest, at=at, actor="gate")
    return len(questions) + len(unused)


async def _readable_action(
    repository: AutonomyRepository, caller: Caller, action_id: str
) -> Action:
    action = await repository.action(action_id)
    if action is None or not _may_read(caller, action.tenant_id):
        raise NotFound(f"There is no action {action_id}.")
    return action


def _readable(caller: Caller) -> str | None:
    """The tenant whose rows the caller may read; None for all of them."""
    return None if "operator" in caller.roles else caller.tenant_id


def _may_read(caller: Caller, tenant_id: str) -> bool:
    return _readable(caller) in (None, tenant_id)


def _bounded(limit: int) -> int:
    return max(1, min(limit, MOST_ROWS))


def _undo_due(action: Action) -> bool:
    """Whether an undo that was approved has not ended yet."""
    return action.state in ("verified", "undoing")
