"""Judges a planned proposal and stores it: actions, question or permits, and audit rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from memory import audit
from memory.ids import new_id
from memory.tables.autonomy import Action, Approval
from tools.autonomy.facts import gather
from tools.autonomy.fingerprint import DecidedBy
from tools.autonomy.gate import EvidenceFacts, GateFacts, judge, together
from tools.autonomy.ledger import held_conflict
from tools.autonomy.policy import AutonomyConfig
from tools.autonomy.records import issue_permit, move, question_digest
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.schemas import Verdict
from tools.kit.deps import Caller
from tools.kit.gatekeeper import Intention, Proposed, ProposedAction
from tools.kit.operation import Operation, Plan

Executor = Literal["healer", "agents"]


@dataclass(frozen=True)
class Planned:
    """One intention with its plan, before it is judged."""

    operation: Operation[Any]
    arguments: dict[str, Any]
    plan: Plan
    intention: Intention
    digest: str
    evidence: EvidenceFacts
    sources: Mapping[str, str]
    """Where each argument comes from; empty where nothing vouches for it."""


@dataclass(frozen=True)
class Origin:
    """Where a proposal comes from, and when it came."""

    at: datetime
    caller: Caller
    decided_by: DecidedBy
    executor: Executor
    title: str
    incident_id: str | None
    thread_id: str | None
    run_id: str | None
    tool_call_id: str | None
    tainted: bool


async def store(
    session: AsyncSession, origin: Origin, planned: Sequence[Planned], config: AutonomyConfig
) -> Proposed:
    """Judge a proposal and write it, its approval or permits, and the audit rows.

    Raises:
        Conflict: a target is held by another open action.
    """
    at = origin.at
    repository = AutonomyRepository(session)
    await _hold(repository, planned, at)
    try:
        facts = await _facts(repository, origin, planned)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        # Nothing is written yet: what is read after the error must be another transaction's.
        await session.rollback()
        await _hold(repository, planned, at)
        facts = await _facts(repository, origin, planned, apart=True)
    verdicts = [judge(one) for one in facts]
    overall = together(verdicts)
    approval: Approval | None = None
    if overall.outcome == "ask":
        approval = _question(origin, planned, overall, config)
        repository.add(approval)
    actions = []
    for position, (p, verdict) in enumerate(zip(planned, verdicts, strict=True)):
        reason = verdict.reason if verdict.outcome == overall.outcome else overall.reason
        action = _row(origin, p, verdict, reason, position)
        action.approval_id = approval.id if approval else None
        repository.add(action)
        actions.append(action)
    await session.flush()
    await _audit(session, origin, planned, actions, approval)
    for action in actions:
        if overall.outcome == "run":
            await issue_permit(
                session,
                action,
                "apply",
                granted_by="gate",
                actor="gate",
                at=at,
                valid_for=config.permit_for,
            )
        state = {"run": "permitted", "ask": "asked", "refuse": "refused"}[overall.outcome]
        note = action.reason if state == "refused" else ""
        body = {"reason": action.reason}
        await move(session, action, state, at=at, actor="gate", note=note, body=body)
    return as_proposed(overall.outcome, overall.reason, actions, approval)


async def _hold(repository: AutonomyRepository, planned: Sequence[Planned], at: datetime) -> None:
    """Be the only one who judges, with every target free."""
    await repository.hold_proposals()
    if holders := await repository.holders([p.plan.target for p in planned]):
        raise held_conflict(holders[0], at)


async def _facts(
    repository: AutonomyRepository,
    origin: Origin,
    planned: Sequence[Planned],
    *,
    apart: bool = False,
) -> list[GateFacts]:
    return [
        await gather(
            repository,
            origin.caller,
            p.operation,
            p.plan,
            p.intention.warrant,
            proposed_together=len(planned),
            tainted=origin.tainted,
            sources=p.sources,
            evidence=p.evidence,
            now=origin.at,
            apart=apart,
        )
        for p in planned
    ]


def _question(
    origin: Origin, planned: Sequence[Planned], verdict: Verdict, config: AutonomyConfig
) -> Approval:
    at = origin.at
    return Approval(
        id=new_id("apr"),
        tenant_id=origin.caller.tenant_id,
        kind="apply",
        title=audit.storable(origin.title),
        reason=verdict.reason,
        digest=question_digest("apply", [p.digest for p in planned]),
        state="pending",
        executor=origin.executor,
        incident_id=origin.incident_id,
        thread_id=origin.thread_id,
        run_id=origin.run_id,
        created_at=at,
        expires_at=at + config.approval_for,
        decided_by=None,
        decided_at=None,
    )


def _row(origin: Origin, planned: Planned, verdict: Verdict, reason: str, position: int) -> Action:
    at = origin.at
    return Action(
        id=new_id("act"),
        operation=planned.operation.name,
        target=planned.plan.target,
        arguments=planned.arguments,
        digest=planned.digest,
        plan=audit.storable(planned.plan.model_dump(mode="json")),
        state="planned",
        risk=planned.operation.risk,
        reversibility=planned.operation.reversibility,
        reason=reason,
        conditions=[c.model_dump(mode="json") for c in verdict.conditions],
        warrant=audit.storable(planned.intention.warrant.model_dump(mode="json")),
        decided_by=origin.decided_by,
        executor=origin.executor,
        tainted=origin.tainted,
        fingerprint=planned.evidence.fingerprint,
        tenant_id=origin.caller.tenant_id,
        person_id=origin.caller.person_id,
        incident_id=origin.incident_id,
        thread_id=origin.thread_id,
        tool_call_id=origin.tool_call_id,
        undo_approval_id=None,
        position=position,
        note="",
        created_at=at,
        updated_at=at,
    )


async def _audit(
    session: AsyncSession,
    origin: Origin,
    planned: Sequence[Planned],
    actions: Sequence[Action],
    approval: Approval | None,
) -> None:
    at = origin.at
    actor = origin.caller.actor if origin.decided_by != "model" else "model"
    for p, action in zip(planned, actions, strict=True):
        await audit.append(
            session,
            at=at,
            actor=actor,
            kind="action.planned",
            subject=action.id,
            body={
                "operation": action.operation,
                "target": action.target,
                "digest": action.digest,
                "plan": action.plan["summary"],
                "warrant": {k: action.warrant[k] for k in ("kind", "id")},
                "decided_by": origin.decided_by,
                "for": origin.caller.actor,
                "tainted": origin.tainted,
                **({"arguments_from": dict(p.sources)} if origin.tainted else {}),
            },
        )
    if approval is not None:
        await audit.append(
            session,
            at=at,
            actor="gate",
            kind="approval.asked",
            subject=approval.id,
            body={
                "title": approval.title,
                "digest": approval.digest,
                "actions": [action.id for action in actions],
                "reason": approval.reason,
                "expires_at": approval.expires_at.isoformat(),
            },
        )


def as_proposed(
    outcome: Literal["run", "ask", "refuse"],
    reason: str,
    actions: Sequence[Action],
    approval: Approval | None,
) -> Proposed:
    """What the gate said to stored *actions*."""
    return Proposed(
        outcome=outcome,
        reason=reason,
        actions=tuple(
            ProposedAction(
                id=action.id,
                operation=action.operation,
                target=action.target,
                state=action.state,
                plan=Plan.model_validate(action.plan),
                digest=action.digest,
                reason=action.reason,
            )
            for action in actions
        ),
        approval_id=approval.id if approval else None,
        digest=approval.digest if approval else None,
    )
