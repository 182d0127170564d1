"""Reads what the gate judges by; a fact that can't be read is None and therefore asks."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from tools.autonomy.gate import BudgetFacts, EvidenceFacts, GateFacts, Standing
from tools.autonomy.repository import AutonomyRepository
from tools.kit.deps import Caller
from tools.kit.operation import Operation, Plan, Warrant

F = TypeVar("F")

log = structlog.get_logger(__name__)


async def gather(
    repository: AutonomyRepository,
    caller: Caller,
    operation: Operation[Any],
    plan: Plan,
    warrant: Warrant,
    *,
    proposed_together: int,
    tainted: bool,
    evidence: EvidenceFacts,
    now: datetime,
    sources: Mapping[str, str] | None = None,
) -> GateFacts:
    """Everything the gate looks at for one planned action.

    *sources* says where each argument comes from; None where nobody can tell, which trusts none.
    """
    doubtful = None if sources is None else tuple(n for n, source in sources.items() if not source)

    async def budget() -> BudgetFacts:
        used = await repository.usage(operation.name, plan.target, now)
        last = used.last_on_target
        return BudgetFacts(
            acted_last_hour=used.acted_last_hour,
            at_work=used.at_work,
            since_last_on_target=now - last if last else None,
            unhelpful_last_day=used.unhelpful_last_day,
            proposed_together=proposed_together,
            open_questions=used.open_questions,
            freezes=used.freezes,
        )

    async def cause() -> Standing:
        return await _standing(repository, caller, warrant, plan.target)

    return GateFacts(
        operation=operation.name,
        target=plan.target,
        risk=operation.risk,
        reversibility=operation.reversibility,
        autonomous=operation.autonomous,
        warrant=warrant,
        cause=await _readable(repository, "cause", cause),
        evidence=evidence,
        budget=await _readable(repository, "budget", budget),
        tainted=tainted,
        arguments_trusted=doubtful == (),
        doubtful=doubtful or (),
    )


async def _standing(
    repository: AutonomyRepository, caller: Caller, warrant: Warrant, target: str
) -> Standing:
    """Where the cause a warrant names stands now."""
    if warrant.kind == "incident":
        incident = await repository.incident(warrant.id)
        if incident is None:
            return "missing"
        about, is_open = incident
        if not is_open:
            return "closed"
        # An incident of a whole service covers its replicas.
        return "open" if about == target or target.startswith(f"{about}/") else "elsewhere"
    if warrant.kind == "request":
        return "open" if warrant.id and caller.person_id is not None else "missing"
    # There are no schedules that act, so none is ever due.
    return "missing"


async def _readable(
    repository: AutonomyRepository, name: str, read: Callable[[], Awaitable[F]]
) -> F | None:
    """What *read* answers, or None where the database answers with an error of its own."""
    try:
        async with repository.session.begin_nested():
            return await read()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        log.warning("gate.fact_unreadable", fact=name, why=str(error.orig)[:300])
        return None
