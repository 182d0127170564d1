"""Autonomy: what may run alone, why, on what evidence, and what would change it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from server.auth import FleetVisitor, ServicesDep
from server.lifespan import Services
from server.routes.evaluation import Wanted, ask_for_run, freeze_operation, thaw_operation
from server.visitor import Visitor
from server.web.evidence_charts import bound_line
from server.web.pages.standing import standing_part
from server.web.rendering import answer, fragment, html
from server.web.surroundings import surroundings
from tools.autonomy import freezes, levels, policy, suite_runs
from tools.autonomy.schemas import OperationDetail, OperationView
from tools.autonomy.trial_schemas import CellView, PointView, RunView
from tools.kit.errors import CapabilityError

router = APIRouter(include_in_schema=False)

HERE = "/autonomy"
RUNS_SHOWN = 5


@dataclass(frozen=True)
class Levels:
    """Where autonomy stands, the same for everybody who may see the fleet."""

    operations: list[OperationView]
    runs: list[RunView]
    """The last few."""
    everything: str
    """Why all operations are frozen; empty where they aren't."""


@dataclass(frozen=True)
class Evidence:
    """What one operation's level rests on, the same for everybody who may see the fleet."""

    operation: OperationDetail
    cells: list[CellView]
    points: list[PointView]
    going: bool
    """Whether a suite is being run."""
    everything: str
    """Why all operations are frozen; empty where they aren't."""


async def levels_part(request: Request, services: Services, visitor: Visitor) -> Markup:
    """Every operation's card, and how far the runs of suites are.

    Read once for all pages that ask within a second; a form in it carries its visitor's token, so
    that each renders its own.
    """

    async def read() -> Levels:
        async with services.databases.control.unit_of_work() as session:
            return Levels(
                await levels.list_operations(
                    session, visitor.caller, services.operations, services.evidence
                ),
                await suite_runs.list_runs(session, visitor.caller, limit=RUNS_SHOWN),
                await freezes.find(session, visitor.caller, policy.CHANGE_FREEZE),
            )

    found = await services.glance.take("levels", read)
    return fragment(
        request,
        "parts/levels.html",
        visitor=visitor,
        operations=found.operations,
        runs=found.runs,
        going=_going(found.runs),
        everything=found.everything,
    )


@router.get(HERE)
async def autonomy_page(request: Request, services: ServicesDep, visitor: FleetVisitor) -> Response:
    """The whole page."""
    return await _page(request, services, visitor)


@router.get(HERE + "/now")
async def autonomy_now(request: Request, services: ServicesDep, visitor: FleetVisitor) -> Response:
    """The part that changes."""
    return answer(await levels_part(request, services, visitor))


@router.get(HERE + "/operations/{operation}")
async def operation_page(
    request: Request, services: ServicesDep, visitor: FleetVisitor, operation: str
) -> Response:
    """One operation: every signed trial, and everything its level rests on."""
    evidence = await _evidence(services, visitor, operation)
    part = _operation_part(request, visitor, evidence)
    frame = await surroundings(services, visitor)
    return html(
        request, "operation.html", visitor=visitor, frame=frame, area="autonomy",
        operation=evidence.operation, part=part,
    )  # fmt: skip


@router.get(HERE + "/operations/{operation}/now")
async def operation_now(
    request: Request, services: ServicesDep, visitor: FleetVisitor, operation: str
) -> Response:
    """The part that changes."""
    return answer(_operation_part(request, visitor, await _evidence(services, visitor, operation)))


@router.get(HERE + "/runs/{run_id}")
async def run_page(
    request: Request, services: ServicesDep, visitor: FleetVisitor, run_id: str
) -> Response:
    """One run of a suite."""
    part = await _run_part(request, services, visitor, run_id)
    frame = await surroundings(services, visitor)
    return html(
        request, "run.html", visitor=visitor, frame=frame, area="autonomy", part=part, run_id=run_id
    )


@router.get(HERE + "/runs/{run_id}/now")
async def run_now(
    request: Request, services: ServicesDep, visitor: FleetVisitor, run_id: str
) -> Response:
    """The part that changes."""
    return answer(await _run_part(request, services, visitor, run_id))


@router.get(HERE + "/trials/{trial_id}")
async def trial_page(
    request: Request, services: ServicesDep, visitor: FleetVisitor, trial_id: str
) -> Response:
    """One played world, step by step."""
    async with services.databases.control.unit_of_work() as session:
        trial = await suite_runs.get_trial(session, visitor.caller, trial_id)
    frame = await surroundings(services, visitor)
    return html(request, "trial.html", visitor=visitor, frame=frame, area="autonomy", trial=trial)


@router.post(HERE + "/runs")
async def ask(
    request: Request,
    services: ServicesDep,
    visitor: FleetVisitor,
    suite: Annotated[str, Form(max_length=80)],
) -> Response:
    """Ask for the quick run of a suite, and lead to it."""
    try:
        run = await ask_for_run(services, visitor.caller, Wanted(suite=suite, quick=True))
    except CapabilityError as wrong:
        return await _page(request, services, visitor, status=409, problem=wrong.message)
    services.glance.forget()
    return RedirectResponse(f"{HERE}/runs/{run.id}", status_code=303)


@router.post(HERE + "/runs/{run_id}/stop")
async def stop(services: ServicesDep, visitor: FleetVisitor, run_id: str) -> Response:
    """Stop a run; what is being played counts as failed."""
    async with services.databases.control.unit_of_work() as session:
        await suite_runs.stop_run(session, visitor.caller, run_id, clock=services.clock)
    services.glance.forget()
    return RedirectResponse(f"{HERE}/runs/{run_id}", status_code=303)


@router.post(HERE + "/operations/{operation}/freeze")
async def freeze(
    request: Request,
    services: ServicesDep,
    visitor: FleetVisitor,
    operation: str,
    reason: Annotated[str, Form(max_length=freezes.MOST_REASON)],
) -> Response:
    """Freeze an operation (`*` all of them) and lead back."""
    try:
        await freeze_operation(services, visitor.caller, operation, reason)
    except CapabilityError as wrong:
        return await _page(request, services, visitor, status=409, problem=wrong.message)
    services.glance.forget()
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/operations/{operation}/thaw")
async def thaw(services: ServicesDep, visitor: FleetVisitor, operation: str) -> Response:
    """Lift a freeze and lead back."""
    await thaw_operation(services, visitor.caller, operation)
    services.glance.forget()
    return RedirectResponse(HERE, status_code=303)


async def _evidence(services: Services, visitor: Visitor, operation: str) -> Evidence:
    async def read() -> Evidence:
        async with services.databases.control.unit_of_work() as session:
            found = await levels.get_operation(
                session, visitor.caller, services.operations, services.evidence, operation
            )
            under = found.fingerprint or ""
            return Evidence(
                operation=found,
                cells=await suite_runs.matrix(session, visitor.caller, operation, under),
                points=await suite_runs.history(
                    session,
                    visitor.caller,
                    operation,
                    under,
                    risk=found.risk,
                    floors={case.case: case.floor for case in found.cases},
                ),
                going=_going(await suite_runs.list_runs(session, visitor.caller, limit=RUNS_SHOWN)),
                everything=await freezes.find(session, visitor.caller, policy.CHANGE_FREEZE),
            )

    if operation not in services.operations:  # nothing is kept under a name somebody made up
        return await read()
    return await services.glance.take(("operation", operation), read)


def _operation_part(request: Request, visitor: Visitor, evidence: Evidence) -> Markup:
    return fragment(
        request,
        "parts/operation.html",
        visitor=visitor,
        operation=evidence.operation,
        cells=evidence.cells,
        line=bound_line(evidence.points, evidence.operation.target),
        going=evidence.going,
        everything=evidence.everything,
    )


def _going(runs: list[RunView]) -> bool:
    return any(run.state in ("queued", "running") for run in runs)


async def _run_part(request: Request, services: Services, visitor: Visitor, run_id: str) -> Markup:
    async with services.databases.control.unit_of_work() as session:
        run, trials = await suite_runs.get_run(session, visitor.caller, run_id)
    return fragment(request, "parts/run.html", visitor=visitor, run=run, trials=trials)


async def _page(
    request: Request,
    services: Services,
    visitor: Visitor,
    *,
    status: int = 200,
    problem: str = "",
) -> Response:
    part = await levels_part(request, services, visitor)
    standing = await standing_part(request, services, visitor, back=HERE)
    frame = await surroundings(services, visitor)
    return html(
        request, "autonomy.html", status=status, visitor=visitor, frame=frame, area="autonomy",
        part=part, standing=standing, problem=problem, limits=policy.sentence(),
    )  # fmt: skip
