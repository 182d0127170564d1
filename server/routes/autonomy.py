"""Approvals, actions, the audit trail and where autonomy stands, for programs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from server.auth import FleetVisitor, ServicesDep
from server.problems import declared
from tools.autonomy import levels
from tools.autonomy import service as autonomy
from tools.autonomy.schemas import (
    ActionView,
    ApprovalState,
    ApprovalView,
    AuditView,
    OperationView,
)

router = APIRouter(prefix="/api", tags=["autonomy"])

ApprovalId = Annotated[str, Path(examples=["apr-7k2m9qh4xw3c"], max_length=64)]
ActionId = Annotated[str, Path(examples=["act-7k2m9qh4xw3c"], max_length=64)]


class ApprovalList(BaseModel):
    """Questions to people, newest first."""

    approvals: list[ApprovalView]


class ActionList(BaseModel):
    """Actions, newest first."""

    actions: list[ActionView]


class AuditPage(BaseModel):
    """Rows of the audit log, newest first."""

    entries: list[AuditView]
    next_before: int | None
    """`before` of the next page; null when this is the last."""


class OperationList(BaseModel):
    """Every operation the academy knows."""

    operations: list[OperationView]


class Decision(BaseModel):
    """A person's answer to exactly the plan they were shown."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"decision": "approve", "digest": "9f2c4b" + "0" * 58}],
        },
    )

    decision: Literal["approve", "deny"]
    digest: str = Field(min_length=64, max_length=64)
    """The approval's digest as read: a plan that changed meanwhile is not approved."""


class Release(BaseModel):
    """What a person found when they looked at a stuck action's target."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"found": "not-done", "note": "The old process still runs."}],
        },
    )

    found: autonomy.Found
    """Whether the effect happened."""
    note: str = Field(default="", max_length=autonomy.MOST_REASON)
    """What else they saw."""


@router.get("/approvals", summary="Questions to people", responses=declared())
async def approvals(
    services: ServicesDep,
    visitor: FleetVisitor,
    state: ApprovalState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ApprovalList:
    """With the plan of each action."""
    async with services.databases.control.unit_of_work() as session:
        found = await autonomy.list_approvals(session, visitor.caller, state=state, limit=limit)
    return ApprovalList(approvals=found)


@router.get("/approvals/{approval_id}", summary="One question", responses=declared(404))
async def approval(
    services: ServicesDep, visitor: FleetVisitor, approval_id: ApprovalId
) -> ApprovalView:
    """What would be done, why, and until when it can be answered."""
    async with services.databases.control.unit_of_work() as session:
        return await autonomy.get_approval(session, visitor.caller, approval_id)


@router.post(
    "/approvals/{approval_id}/decision",
    summary="Approve or deny",
    responses=declared(404, 409),
)
async def decide(
    services: ServicesDep, visitor: FleetVisitor, approval_id: ApprovalId, body: Decision
) -> ApprovalView:
    """Counts once.

    A second answer, an expired question or another digest is a conflict, and nothing happens.
    """
    async with services.databases.control.unit_of_work() as session:
        return await autonomy.decide(
            session,
            visitor.caller,
            approval_id,
            decision=body.decision,
            digest=body.digest,
            clock=services.clock,
            config=services.autonomy,
        )


@router.get("/actions", summary="What was done, is being done or was asked", responses=declared())
async def actions(
    services: ServicesDep,
    visitor: FleetVisitor,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(description="Id of the last action seen.")] = None,
    incident: Annotated[str | None, Query(description="Only this incident's.")] = None,
    target: Annotated[str | None, Query(examples=["catalog/catalog-1"])] = None,
) -> ActionList:
    """With plan, conditions of the gate, outcome and check."""
    async with services.databases.control.unit_of_work() as session:
        found = await autonomy.list_actions(
            session,
            visitor.caller,
            limit=limit,
            before=before,
            incident_id=incident,
            target=target,
        )
    return ActionList(actions=found)


@router.get("/actions/{action_id}", summary="One action", responses=declared(404))
async def action(services: ServicesDep, visitor: FleetVisitor, action_id: ActionId) -> ActionView:
    """From its cause to its outcome."""
    async with services.databases.control.unit_of_work() as session:
        return await autonomy.get_action(session, visitor.caller, action_id)


@router.post(
    "/actions/{action_id}/undo",
    summary="Ask for an action to be undone",
    status_code=201,
    responses=declared(404, 409),
)
async def undo(services: ServicesDep, visitor: FleetVisitor, action_id: ActionId) -> ApprovalView:
    """Answers the question that must be approved before anything is undone.

    Asked again while it waits, the same question.
    """
    async with services.databases.control.unit_of_work() as session:
        return await autonomy.ask_undo(
            session, visitor.caller, action_id, clock=services.clock, config=services.autonomy
        )


@router.post(
    "/actions/{action_id}/release",
    summary="Close a stuck action after looking",
    responses=declared(404, 409),
)
async def release(
    services: ServicesDep, visitor: FleetVisitor, action_id: ActionId, body: Release
) -> ActionView:
    """Records what a person found, and frees the action's target for others.

    Nothing is applied or undone; an action that isn't stuck is a conflict.
    """
    async with services.databases.control.unit_of_work() as session:
        return await autonomy.release_stuck(
            session,
            visitor.caller,
            action_id,
            found=body.found,
            note=body.note,
            clock=services.clock,
        )


@router.get("/audit", summary="The audit log", responses=declared())
async def audit(
    services: ServicesDep,
    visitor: FleetVisitor,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[int | None, Query(ge=1, description="Rows before this number.")] = None,
    kind: Annotated[str | None, Query(examples=["action."], max_length=80)] = None,
) -> AuditPage:
    """Newest first; *kind* is a prefix such as `approval.`."""
    async with services.databases.control.unit_of_work() as session:
        entries = await autonomy.list_audit(
            session, visitor.caller, limit=limit, before_seq=before, kind_prefix=kind
        )
    return AuditPage(
        entries=entries, next_before=entries[-1].seq if len(entries) == limit else None
    )


@router.get("/autonomy", summary="Where each operation stands", responses=declared())
async def operations(services: ServicesDep, visitor: FleetVisitor) -> OperationList:
    """Whether it asks, runs alone or is frozen, and why."""
    async with services.databases.control.unit_of_work() as session:
        found = await levels.list_operations(
            session, visitor.caller, services.operations, services.evidence
        )
    return OperationList(operations=found)
