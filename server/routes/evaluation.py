"""Evidence for programs: levels and why, freezes, runs of suites, played worlds."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from server.auth import FleetVisitor, ServicesDep
from server.lifespan import Services
from server.problems import declared
from server.processes.programs import EVALUATIONS
from tools.adapters.supervisor import Supervisor
from tools.autonomy import freeze_landing, freezes, levels, suite_runs
from tools.autonomy.policy import CHANGE_FREEZE
from tools.autonomy.schemas import OperationDetail
from tools.autonomy.standing_seal import home_seal
from tools.autonomy.trial_schemas import RunView, TrialDetail, TrialView
from tools.kit.deps import Caller
from tools.kit.errors import CapabilityError, NotFound

router = APIRouter(prefix="/api", tags=["autonomy"])

OperationName = Annotated[str, Path(examples=["healing.restart_replica"], max_length=120)]
FrozenName = Annotated[
    str, Path(examples=["healing.restart_replica"], max_length=120, description="`*` for all.")
]
RunId = Annotated[str, Path(examples=["evl-7k2m9qh4xw3c"], max_length=64)]
TrialId = Annotated[str, Path(examples=["trn-7k2m9qh4xw3c"], max_length=64)]


class Reason(BaseModel):
    """Why an operation is frozen."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "Exams."}]}
    )

    reason: str = Field(min_length=1, max_length=freezes.MOST_REASON)
    """Everybody who is asked will read it."""


class Wanted(BaseModel):
    """Which suite to run."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"suite": "healing", "quick": True}]}
    )

    suite: str = Field(max_length=80)
    quick: bool = True
    """Only the cases that are marked quick."""


class RunList(BaseModel):
    """Runs of suites, newest first."""

    runs: list[RunView]


class RunDetail(BaseModel):
    """One run and the worlds it played."""

    run: RunView
    trials: list[TrialView]


async def freeze_operation(services: Services, caller: Caller, operation: str, reason: str) -> None:
    """Order that an operation always asks, and take back what was permitted in advance, at once.

    Raises:
        Unavailable: the database is away; it is frozen on this machine and stored afterwards.
        CapabilityError: it was refused; nothing changed.
    """
    if operation != CHANGE_FREEZE and operation not in services.operations:
        known = ", ".join([*sorted(services.operations), CHANGE_FREEZE])
        raise NotFound(f"There is no operation {operation}; what may be frozen: {known}.")
    home = services.settings.paths
    await freeze_landing.freeze(
        services.databases.control,
        home.standing,
        await asyncio.to_thread(home_seal, home.standing),
        caller,
        operation,
        reason=reason,
        clock=services.clock,
    )


async def thaw_operation(services: Services, caller: Caller, operation: str) -> None:
    """Lift a freeze, in the database and on this machine.

    Raises:
        CapabilityError: it was refused; nothing changed.
    """
    await freeze_landing.thaw(
        services.databases.control,
        services.settings.paths.standing,
        caller,
        operation,
        clock=services.clock,
    )


async def ask_for_run(services: Services, caller: Caller, wanted: Wanted) -> RunView:
    """Put a run to those that wait, and have the evaluation worker started.

    Raises:
        CapabilityError: it was refused, or the worker can't be started (the run has failed then).
    """
    async with services.databases.control.unit_of_work() as session:
        run = await suite_runs.ask_for_run(
            session,
            caller,
            wanted.suite,
            quick=wanted.quick,
            suites=services.evidence.surroundings.suites,
            clock=services.clock,
        )
    supervisor = Supervisor(services.settings.paths.supervisor_socket)
    try:
        await asyncio.to_thread(supervisor.start, EVALUATIONS)
    except CapabilityError as error:
        async with services.databases.control.unit_of_work() as session:
            await suite_runs.fail_run(session, run.id, error.message, clock=services.clock)
        raise
    return run


@router.get(
    "/autonomy/{operation}", summary="Where one operation stands and why", responses=declared(404)
)
async def operation_detail(
    services: ServicesDep, visitor: FleetVisitor, operation: OperationName
) -> OperationDetail:
    """Its level, evidence, cases, regions, fingerprint and live record."""
    async with services.databases.control.unit_of_work() as session:
        return await levels.get_operation(
            session, visitor.caller, services.operations, services.evidence, operation
        )


@router.post(
    "/autonomy/{operation}/freeze",
    summary="Order that an operation always asks",
    status_code=204,
    responses=declared(404, 409),
)
async def freeze(
    services: ServicesDep, visitor: FleetVisitor, operation: FrozenName, body: Reason
) -> None:
    """From now on, everywhere, until it is thawed."""
    await freeze_operation(services, visitor.caller, operation, body.reason)


@router.post(
    "/autonomy/{operation}/thaw",
    summary="Lift a freeze",
    status_code=204,
    responses=declared(404),
)
async def thaw(services: ServicesDep, visitor: FleetVisitor, operation: FrozenName) -> None:
    """What it may do then still depends on evidence: nobody can grant that."""
    await thaw_operation(services, visitor.caller, operation)


@router.get("/evaluations", summary="Runs of suites", responses=declared())
async def runs(
    services: ServicesDep,
    visitor: FleetVisitor,
    suite: Annotated[str | None, Query(max_length=80)] = None,
    limit: Annotated[int, Query(ge=1, le=suite_runs.MOST_RUNS)] = 20,
) -> RunList:
    """Newest first, with how far each is."""
    async with services.databases.control.unit_of_work() as session:
        found = await suite_runs.list_runs(session, visitor.caller, suite=suite, limit=limit)
    return RunList(runs=found)


@router.post(
    "/evaluations",
    summary="Ask for a run of a suite",
    status_code=202,
    responses=declared(404, 409),
)
async def ask(services: ServicesDep, visitor: FleetVisitor, body: Wanted) -> RunView:
    """The evaluation worker plays it; its trials become evidence whatever they say."""
    return await ask_for_run(services, visitor.caller, body)


@router.get("/evaluations/{run_id}", summary="One run of a suite", responses=declared(404))
async def run_detail(services: ServicesDep, visitor: FleetVisitor, run_id: RunId) -> RunDetail:
    """How far it is, and the worlds it played."""
    async with services.databases.control.unit_of_work() as session:
        run, trials = await suite_runs.get_run(session, visitor.caller, run_id)
    return RunDetail(run=run, trials=trials)


@router.post(
    "/evaluations/{run_id}/stop", summary="Stop a run of a suite", responses=declared(404, 409)
)
async def stop(services: ServicesDep, visitor: FleetVisitor, run_id: RunId) -> RunView:
    """Worlds being played then count as failed."""
    async with services.databases.control.unit_of_work() as session:
        return await suite_runs.stop_run(session, visitor.caller, run_id, clock=services.clock)


@router.get("/trials/{trial_id}", summary="One played world", responses=declared(404))
async def trial(services: ServicesDep, visitor: FleetVisitor, trial_id: TrialId) -> TrialDetail:
    """Its seed, its world afterwards, its grades and everything that happened, in order."""
    async with services.databases.control.unit_of_work() as session:
        return await suite_runs.get_trial(session, visitor.caller, trial_id)
