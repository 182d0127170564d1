"""Reads what the gate judges by; a fact that can't be read is None and therefore asks."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from tools.autonomy.gate import BudgetFacts, CauseState, EvidenceFacts, GateFacts
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.usage import NO_INCIDENT, Cause, Usage
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
    apart: bool = False,
) -> GateFacts:
    """Everything the gate looks at for one planned action.

    Budget and cause come in one look. Where the database answers that with an error the transaction
    is lost; begin it anew and gather *apart*, which finds out what of them can't be read.

    *sources* says where each argument comes from; None where nobody can tell, which trusts none.

    Raises:
        DBAPIError: budget or cause can't be read; never when gathered *apart*, unless the
            connection is gone.
    """
    doubtful = None if sources is None else tuple(n for n, source in sources.items() if not source)

    read = _apart if apart else _at_once
    incident_id = warrant.id if warrant.kind == "incident" else ""
    used, incident = await read(repository, operation.name, plan.target, incident_id, now)
    cause = None if incident is None else _cause_state(incident, caller, warrant, plan.target)
    budget = None if used is None else _budget(used, proposed_together, now)
    return GateFacts(
        operation=operation.name,
        target=plan.target,
        risk=operation.risk,
        reversibility=operation.reversibility,
        autonomous=operation.autonomous,
        warrant=warrant,
        cause=cause,
        evidence=evidence,
        budget=budget,
        tainted=tainted,
        arguments_trusted=doubtful == (),
        doubtful=doubtful or (),
        called_for_by=operation.called_for_by,
        incident_kind=None if incident is None else incident.kind,
    )


async def _at_once(
    repository: AutonomyRepository, operation: str, target: str, incident_id: str, now: datetime
) -> tuple[Usage, Cause]:
    return await repository.usage_and_incident(operation, target, incident_id, now)


async def _apart(
    repository: AutonomyRepository, operation: str, target: str, incident_id: str, now: datetime
) -> tuple[Usage | None, Cause | None]:
    async def usage() -> Usage:
        return await repository.usage(operation, target, now)

    async def cause() -> Cause:
        return await repository.incident(incident_id) if incident_id else NO_INCIDENT

    return (
        await _readable(repository, "budget", usage),
        await _readable(repository, "cause", cause),
    )


def _budget(used: Usage, proposed_together: int, now: datetime) -> BudgetFacts:
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


def _cause_state(incident: Cause, caller: Caller, warrant: Warrant, target: str) -> CauseState:
    """Where the cause a warrant names stands now; *incident* is the one of that id."""
    if warrant.kind == "incident":
        about = incident.target
        if about is None:
            return "missing"
        if not incident.is_open:
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
