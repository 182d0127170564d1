"""Rows as the values people and programs see, people's ids resolved to their names."""

from collections.abc import Sequence

from memory.tables.autonomy import Action, Approval, AuditEntry
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.schemas import ActionView, ApprovalView, AuditView

GONE = "somebody who is gone"
"""Shown for a person whose row no longer exists."""


async def action_views(
    repository: AutonomyRepository, actions: Sequence[Action]
) -> list[ActionView]:
    """Actions in their order, each with the name of whoever approved it."""
    approvals = await repository.approvals_named(
        action.approval_id for action in actions if action.approval_id
    )
    approvers = {
        approval.id: approval.decided_by
        for approval in approvals.values()
        if approval.state == "approved" and approval.decided_by
    }
    names = await repository.names(approvers.values())
    views = []
    for action in actions:
        approver = approvers.get(action.approval_id or "")
        values = {
            name: getattr(action, name) for name in ActionView.model_fields if name != "approved_by"
        }
        values["approved_by"] = names.get(approver, GONE) if approver else None
        views.append(ActionView.model_validate(values))
    return views


async def approval_view(repository: AutonomyRepository, approval: Approval) -> ApprovalView:
    """One question with its actions."""
    actions = await repository.actions_of(approval)
    names = await repository.names([approval.decided_by] if approval.decided_by else [])
    values = {
        name: getattr(approval, name)
        for name in ApprovalView.model_fields
        if name not in ("actions", "decided_by")
    }
    values["decided_by"] = names.get(approval.decided_by, GONE) if approval.decided_by else None
    values["actions"] = await action_views(repository, actions)
    return ApprovalView.model_validate(values)


def audit_view(entry: AuditEntry) -> AuditView:
    """One row of the audit log."""
    return AuditView.model_validate({name: getattr(entry, name) for name in AuditView.model_fields})
