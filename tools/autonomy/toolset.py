"""The autonomy room as a specialist meets it: the record of actions, and the door to undoing one.

Every tool takes the caller from `ToolDeps`; the service checks permission again. Undoing is always
asked: the door stores the question and hands it back. Reasons, warrants, checks and audit rows are
sentences that may repeat what somebody wrote (a person's request, why something was frozen, what a
service answered a check), so whoever is told one is tainted. What comes back here is no identifier
of anything that could be acted upon.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic_ai import FunctionToolset, RunContext

from tools.autonomy import service
from tools.autonomy.evidence_source import EvidenceSource
from tools.autonomy.levels import list_operations
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.schemas import ActionView, ApprovalView, AuditView, OperationView
from tools.kit.errors import Conflict, Forbidden, NotFound
from tools.kit.operation import Operation, Value
from tools.kit.proposal import Question
from tools.kit.tool_deps import ToolDeps

READS = ("list_actions", "list_approvals", "read_audit", "autonomy_levels")
DOORS = ("undo_action",)
MOST = 50
DONE = ("verified", "not_helped", "undone", "escalated", "failed", "stuck", "applied")
"""States of an action that was begun: something happened, or was tried."""


class ActionAnswer(Value):
    """One action in short."""

    id: str
    operation: str
    target: str
    summary: str
    state: str
    approved_by: str | None
    decided_by: str
    reversibility: str
    risk: str
    reason: str
    warrant: str
    check: str
    incident_id: str | None
    thread_id: str | None
    created_at: datetime
    updated_at: datetime


class ActionsAnswer(Value):
    """Actions, newest first."""

    text: str
    actions: list[ActionAnswer]


class ApprovalAnswer(Value):
    """One question to a person in short."""

    id: str
    title: str
    reason: str
    state: str
    targets: list[str]
    decided_by: str | None
    expires_at: datetime


class ApprovalsAnswer(Value):
    """Questions waiting for a person, newest first."""

    text: str
    approvals: list[ApprovalAnswer]


class AuditAnswer(Value):
    """Rows of the audit log, newest first."""

    text: str
    rows: list[AuditView]


class LevelsAnswer(Value):
    """Where each operation stands."""

    text: str
    operations: list[OperationView]


def build_toolset(
    config: AutonomyConfig, operations: Mapping[str, Operation[Any]], evidence: EvidenceSource
) -> FunctionToolset[ToolDeps]:
    """The room's tools over the operations this academy knows."""
    toolset = FunctionToolset[ToolDeps](id="autonomy")

    async def autonomy_levels(ctx: RunContext[ToolDeps]) -> LevelsAnswer:
        """Which operations run alone, which ask a person first, and why."""
        async with ctx.deps.control.unit_of_work() as session:
            found = await list_operations(session, ctx.deps.caller, operations, evidence)
        if any(one.level in ("frozen", "withdrawn") for one in found):
            ctx.deps.taint.mark("why autonomy was taken back")
        alone = [one.title for one in found if one.level == "runs"]
        text = f"Alone: {', '.join(alone)}." if alone else "Everything asks a person first."
        return LevelsAnswer(text=text, operations=list(found))

    async def undo_action(ctx: RunContext[ToolDeps], action_id: str = "") -> Question:
        """Ask to undo an action, where the person asked for it in this message.

        Args:
            action_id: Such as `act-7k2m9qh4xw3c`; empty for the last action of this conversation,
                or of the fleet where this conversation has none.
        """
        return await _ask_undo(ctx.deps, action_id, config)

    for read in (list_actions, list_approvals, read_audit, autonomy_levels):
        toolset.add_function(read)
    toolset.add_function(undo_action, sequential=True)
    return toolset


async def list_actions(
    ctx: RunContext[ToolDeps], *, limit: int = 10, hours: int = 0
) -> ActionsAnswer:
    """What was done to the fleet, newest first: by whom it was approved and how it ended.

    Args:
        limit: How many, 1 to 50.
        hours: Only those of the last so many hours; 0 for no limit in time.
    """
    deps = ctx.deps
    async with deps.control.unit_of_work() as session:
        found = await service.list_actions(session, deps.caller, limit=max(1, min(limit, MOST)))
    if hours > 0:
        since = deps.clock.now() - timedelta(hours=hours)
        found = [one for one in found if one.created_at >= since]
    if found:
        deps.taint.mark("reasons and checks of earlier actions")
    return ActionsAnswer(
        text=f"{len(found)} action{'' if len(found) == 1 else 's'}." if found else "No actions.",
        actions=[_action(one) for one in found],
    )


def _action(view: ActionView) -> ActionAnswer:
    return ActionAnswer(
        id=view.id,
        operation=view.operation,
        target=view.target,
        summary=view.plan.summary,
        state=view.state,
        approved_by=view.approved_by,
        decided_by=view.decided_by,
        reversibility=view.reversibility,
        risk=view.risk,
        reason=view.reason,
        warrant=view.warrant.text,
        check=str((view.check or {}).get("text", "")),
        incident_id=view.incident_id,
        thread_id=view.thread_id,
        created_at=view.created_at,
        updated_at=view.updated_at,
    )


async def list_approvals(ctx: RunContext[ToolDeps]) -> ApprovalsAnswer:
    """What waits for a person's decision now."""
    async with ctx.deps.control.unit_of_work() as session:
        found = await service.list_approvals(session, ctx.deps.caller, state="pending", limit=MOST)
    if found:
        ctx.deps.taint.mark("reasons of open questions")
    return ApprovalsAnswer(
        text=f"{len(found)} waiting for a decision." if found else "Nothing waits for a decision.",
        approvals=[_approval(one) for one in found],
    )


def _approval(view: ApprovalView) -> ApprovalAnswer:
    return ApprovalAnswer(
        id=view.id,
        title=view.title,
        reason=view.reason,
        state=view.state,
        targets=[one.target for one in view.actions],
        decided_by=view.decided_by,
        expires_at=view.expires_at,
    )


async def read_audit(
    ctx: RunContext[ToolDeps], *, limit: int = 20, kind_prefix: str = ""
) -> AuditAnswer:
    """The audit log, newest first: who or what did what, when.

    Args:
        limit: How many rows, 1 to 50.
        kind_prefix: Only kinds that begin so, such as `action` or `approval`; empty for all.
    """
    async with ctx.deps.control.unit_of_work() as session:
        rows = await service.list_audit(
            session,
            ctx.deps.caller,
            limit=max(1, min(limit, MOST)),
            kind_prefix=kind_prefix or None,
        )
    if rows:
        ctx.deps.taint.mark("the audit log")
    return AuditAnswer(text=f"{len(rows)} rows of the audit log.", rows=list(rows))


async def _ask_undo(deps: ToolDeps, action_id: str, config: AutonomyConfig) -> Question:
    request = next((one for one in deps.asked.requests if one.operation == "undo"), None)
    if request is None:
        raise Forbidden("Nobody asked in this message to undo anything; the person has to say so.")
    if request.action_id and action_id and action_id != request.action_id:
        raise Forbidden(f"The person asked to undo {request.action_id}, not {action_id}.")
    async with deps.control.unit_of_work() as session:
        if request.action_id:
            action = await service.get_action(session, deps.caller, request.action_id)
        else:
            recent = await service.list_actions(session, deps.caller, limit=MOST)
            action = _last(recent, deps.thread_id)
            if action_id not in ("", action.id):
                raise Forbidden(
                    f"The person asked to undo the last action, which is {action.id}; for another "
                    f"one they have to name it, such as “undo {action_id}”."
                )
        if action.reversibility == "nothing_to_undo":
            raise Conflict(
                f"{action.plan.summary}: a restart has nothing to undo. What can be done instead: "
                "restart it again, or look at its state and log."
            )
        approval = await service.ask_undo(
            session,
            deps.caller,
            action.id,
            clock=deps.clock,
            config=config,
            thread_id=deps.thread_id,
            run_id=deps.run_id,
        )
    return Question(
        approval_id=approval.id, digest=approval.digest, title=approval.title, purpose="undo"
    )


def _last(actions: Sequence[ActionView], thread_id: str) -> ActionView:
    """The newest action that was begun, of this conversation where it has one."""
    begun = [one for one in actions if one.state in DONE]
    own = [one for one in begun if one.thread_id == thread_id]
    if not begun:
        raise NotFound("Nothing has been done to the fleet yet, so there is nothing to undo.")
    return (own or begun)[0]
