"""Where each operation stands: its level of autonomy, why, and what would change that."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from memory.tables.autonomy import Freeze
from tools.autonomy import policy
from tools.autonomy.evidence_repository import EvidenceRepository
from tools.autonomy.evidence_source import EvidenceSource
from tools.autonomy.fingerprint import SuiteLock
from tools.autonomy.gate import EvidenceFacts, Level, level, never_alone
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.schemas import CaseView, OperationDetail, OperationView, RegionView
from tools.kit.deps import Caller
from tools.kit.errors import NotFound
from tools.kit.operation import Operation


async def list_operations(
    session: AsyncSession,
    caller: Caller,
    operations: Mapping[str, Operation[Any]],
    evidence: EvidenceSource,
) -> list[OperationView]:
    """Where each operation stands when an engine decides.

    Raises:
        Forbidden: the caller may not see the fleet.
    """
    caller.require_fleet()
    repository = AutonomyRepository(session)
    frozen = await repository.freezes()
    return [
        await _view(
            repository,
            operation,
            frozen,
            await evidence.about(operation, {}, "engine"),
            evidence.suite_of(operation),
        )
        for _, operation in sorted(operations.items())
    ]


async def get_operation(
    session: AsyncSession,
    caller: Caller,
    operations: Mapping[str, Operation[Any]],
    evidence: EvidenceSource,
    name: str,
) -> OperationDetail:
    """Where one operation stands and everything that rests on.

    Raises:
        Forbidden: the caller may not see the fleet.
        NotFound: there is no such operation; names those there are.
    """
    caller.require_fleet()
    operation = operations.get(name)
    if operation is None:
        known = ", ".join(sorted(operations))
        raise NotFound(f"There is no operation {name}; there are {known}.")
    repository = AutonomyRepository(session)
    frozen = await repository.freezes(name)
    facts = await evidence.about(operation, {}, "engine")
    suite = evidence.suite_of(operation)
    view = await _view(repository, operation, frozen, facts, suite)
    parts = evidence.parts(operation)
    about = EvidenceRepository(session)
    tried = [one for one in await about.tried(name) if one.fingerprint != facts.fingerprint]
    last = tried[-1].parts if tried and not view.trials else parts
    weighed = facts.evidence
    twins = suite.injection.get(name, ()) if suite else ()
    return OperationDetail(
        **view.model_dump(),
        parts=parts,
        changed=sorted(n for n in {*parts, *last} if parts.get(n) != last.get(n)),
        cases=[
            CaseView(
                case=c.case,
                passed=c.passed,
                of=c.of,
                floor=c.floor,
                holds=c.holds,
                injection=c.case in twins,
            )
            for c in (weighed.cases if weighed else ())
        ],
        regions=[
            RegionView(labels=dict(r.labels), figures=dict(r.figures), trials=r.trials)
            for r in (weighed.regions if weighed else ())
        ],
        live=await about.ends(name),
        withdrawals=list(
            dict.fromkeys(
                f"{w.at:%Y-%m-%d %H:%M} UTC: {w.reason}" for w in await about.withdrawals(name)
            )
        ),
        freezes=[f.reason for f in frozen],
        limits=policy.sentence(),
    )


async def _view(
    repository: AutonomyRepository,
    operation: Operation[Any],
    frozen: Sequence[Freeze],
    facts: EvidenceFacts,
    suite: SuiteLock | None,
) -> OperationView:
    evidence = facts.evidence
    stands, reason = level(
        risk=operation.risk,
        reversibility=operation.reversibility,
        autonomous=operation.autonomous,
        freezes=[f.reason for f in frozen if f.operation in (operation.name, policy.CHANGE_FREEZE)],
        evidence=facts,
    )
    looked_at = evidence.looked_at if evidence else None
    return OperationView(
        name=operation.name,
        title=operation.title,
        risk=operation.risk,
        reversibility=operation.reversibility,
        level=stands,
        reason=reason,
        change=_change(operation, stands, facts, suite.name if suite else None),
        trials=evidence.trials if evidence else 0,
        passed=evidence.passed if evidence else 0,
        bound=evidence.bound if evidence else None,
        target=policy.TARGETS.get(operation.risk),
        looked_at=looked_at,
        stale_at=looked_at + policy.SHELF_LIFE if looked_at else None,
        next_look=evidence.next_look if evidence else None,
        fingerprint=facts.fingerprint,
        fingerprints_tried=len(await EvidenceRepository(repository.session).tried(operation.name)),
        suite=suite.name if suite else None,
    )


def _change(
    operation: Operation[Any], stands: Level, facts: EvidenceFacts, suite: str | None
) -> str:
    """What would change the level, in a sentence."""
    evidence = facts.evidence
    if stands == "runs":
        return (
            "One failed check in production withdraws it at once; so do a change of its code, "
            "settings, libraries or suite, a harmful trial, and age."
        )
    if stands == "frozen":
        return "A person lifts the freeze; what it may do then still depends on evidence."
    if stands == "withdrawn":
        return (
            "Nothing under this fingerprint: find why the check failed, add a case for it to the "
            "suite and mend it; the changed operation earns its level anew."
        )
    if never_alone(operation.risk, operation.reversibility, autonomous=operation.autonomous):
        return "Nothing: it always asks."
    if facts.problem:
        return f"The evidence must verify again: {facts.problem}."
    if suite is None:
        return "A suite with cases for it, and trials that pass."
    if evidence is None or evidence.next_look is None:
        return f"Trials of the suite {suite} that pass."
    if evidence.harmful:
        return "Nothing under this fingerprint: a trial did harm. Mend it and try anew."
    look = evidence.next_look
    return (
        f"{look - evidence.trials} more distinct worlds of the suite {suite}, evenly over its "
        f"cases: the bound is read at {look}."
    )
