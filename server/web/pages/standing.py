"""Approvals in advance, for people: what stands, a form to give one, a button to take it back."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from server.auth import FleetVisitor, ServicesDep
from server.lifespan import Services
from server.routes.standing import Grant, give_standing, revoke_standing
from server.visitor import Visitor
from server.web.pages.signin import inner_path
from server.web.rendering import fragment, html
from server.web.surroundings import surroundings
from tools.autonomy import policy, standing_approvals
from tools.kit.errors import CapabilityError, Invalid

router = APIRouter(include_in_schema=False)

HERE = "/autonomy/standing"
CHOICE = "|"
"""Between operation and target in one choice of the form; neither holds it."""


async def standing_part(
    request: Request, services: Services, visitor: Visitor, *, back: str = HERE
) -> Markup:
    """The section, for whichever page shows it; its forms lead to *back*."""
    async with services.databases.control.unit_of_work() as session:
        found = await standing_approvals.list_standing(
            session, visitor.caller, operations=services.operations, clock=services.clock
        )
    taken = {(a.operation, a.target) for a in found if a.state in ("active", "frozen")}
    fleet = services.fleet.read()
    choices = [
        (f"{name}{CHOICE}{target}", f"{services.operations[name].title}: {target}")
        for name in policy.STANDING
        for target in sorted(services.operations[name].targets(fleet))
        if (name, target) not in taken
    ]
    return fragment(
        request,
        "parts/standing.html",
        visitor=visitor,
        approvals=found,
        choices=choices,
        days=policy.STANDING_APPROVAL_DAYS,
        hour=policy.minutes(policy.STANDING_PERMIT_FOR),
        back=back,
    )


@router.get(HERE)
async def standing_page(request: Request, services: ServicesDep, visitor: FleetVisitor) -> Response:
    """The section on a page of its own."""
    return await _page(request, services, visitor)


@router.post(HERE)
async def give(
    request: Request,
    services: ServicesDep,
    visitor: FleetVisitor,
    choice: Annotated[str, Form(max_length=400)],
    reason: Annotated[str, Form(max_length=standing_approvals.MOST_REASON)],
    days: Annotated[int, Form(ge=1, le=policy.STANDING_APPROVAL_DAYS)] = 7,
    back: Annotated[str, Form(max_length=200)] = HERE,
) -> Response:
    """Give one, and lead back; what is wrong with it is said on the page."""
    operation, _, target = choice.partition(CHOICE)
    try:
        if not reason.strip():
            raise Invalid("Say why it is approved in advance; everybody who looks will read it.")
        grant = Grant(operation=operation[:120], target=target[:200], days=days, reason=reason)
        await give_standing(services, visitor.caller, grant)
    except CapabilityError as wrong:
        return await _page(request, services, visitor, status=409, problem=wrong.message)
    return RedirectResponse(inner_path(back), status_code=303)


@router.post(HERE + "/{approval_id}/revoke")
async def revoke(
    services: ServicesDep,
    visitor: FleetVisitor,
    approval_id: str,
    back: Annotated[str, Form(max_length=200)] = HERE,
) -> Response:
    """Take one back, its permits with it."""
    await revoke_standing(services, visitor.caller, approval_id)
    return RedirectResponse(inner_path(back), status_code=303)


async def _page(
    request: Request,
    services: Services,
    visitor: Visitor,
    *,
    status: int = 200,
    problem: str = "",
) -> Response:
    part = await standing_part(request, services, visitor)
    frame = await surroundings(services, visitor)
    return html(
        request, "standing.html", status=status, visitor=visitor, frame=frame, area="autonomy",
        part=part, problem=problem,
    )  # fmt: skip
