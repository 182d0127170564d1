"""Answering a question: the card with its plan, Approve and Deny, and asking for an undo."""

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from server.auth import FleetVisitor, ServicesDep
from server.lifespan import Services
from server.visitor import Visitor
from server.web.approval_cards import settled
from server.web.pages.signin import inner_path
from server.web.rendering import asked_by_htmx, html
from server.web.surroundings import surroundings
from tools.autonomy import service as autonomy
from tools.autonomy.schemas import ApprovalView

router = APIRouter(include_in_schema=False)

Place = Literal["thread", "side", "page"]
"""Where a card stands: in a conversation, beside it, or on a page of its own or an incident's."""


def card(request: Request, visitor: Visitor, approval: ApprovalView, place: Place) -> Response:
    """One card; a settled one also ends the page's asking for it."""
    live = place != "side" and not settled(approval)
    headers = {} if live else {"hx-reswap": "outerHTML"}
    return html(
        request, "parts/approval_live.html", visitor=visitor, headers=headers,
        approval=approval, place=place, whole=not live,
    )  # fmt: skip


@router.get("/approvals/{approval_id}")
async def approval_page(
    request: Request, services: ServicesDep, visitor: FleetVisitor, approval_id: str
) -> Response:
    """One question on a page of its own, for links from elsewhere."""
    async with services.databases.control.unit_of_work() as session:
        approval = await autonomy.get_approval(session, visitor.caller, approval_id)
    frame = await surroundings(services, visitor)
    return html(
        request, "approval.html", visitor=visitor, frame=frame, area="ops", approval=approval
    )


@router.get("/approvals/{approval_id}/card")
async def approval_card(
    request: Request,
    services: ServicesDep,
    visitor: FleetVisitor,
    approval_id: str,
    place: Annotated[Place, Query()] = "page",
) -> Response:
    """The card as it stands now."""
    async with services.databases.control.unit_of_work() as session:
        approval = await autonomy.get_approval(session, visitor.caller, approval_id)
    return card(request, visitor, approval, place)


@router.post("/approvals/{approval_id}/decision")
async def decide(
    request: Request,
    services: ServicesDep,
    visitor: FleetVisitor,
    approval_id: str,
    decision: Annotated[Literal["approve", "deny"], Form()],
    digest: Annotated[str, Form(max_length=64)],
    place: Annotated[Place, Form()] = "page",
    back: Annotated[str, Form()] = "/",
) -> Response:
    """Take the answer, once, to exactly the plan that was shown."""
    approval = await _decide(services, visitor, approval_id, decision, digest)
    services.glance.forget()
    if asked_by_htmx(request):
        return card(request, visitor, approval, place)
    return RedirectResponse(inner_path(back), status_code=303)


async def _decide(
    services: Services,
    visitor: Visitor,
    approval_id: str,
    decision: Literal["approve", "deny"],
    digest: str,
) -> ApprovalView:
    async with services.databases.control.unit_of_work() as session:
        return await autonomy.decide(
            session,
            visitor.caller,
            approval_id,
            decision=decision,
            digest=digest,
            clock=services.clock,
            config=services.autonomy,
        )


@router.post("/actions/{action_id}/undo")
async def ask_undo(
    request: Request, services: ServicesDep, visitor: FleetVisitor, action_id: str
) -> Response:
    """Ask for an action to be undone, and lead to the question."""
    async with services.databases.control.unit_of_work() as session:
        approval = await autonomy.ask_undo(
            session, visitor.caller, action_id, clock=services.clock, config=services.autonomy
        )
    services.glance.forget()
    target = f"/approvals/{approval.id}"
    if asked_by_htmx(request):
        return Response(status_code=204, headers={"hx-redirect": target})
    return RedirectResponse(target, status_code=303)


@router.post("/actions/{action_id}/release")
async def release(
    services: ServicesDep,
    visitor: FleetVisitor,
    action_id: str,
    found: Annotated[autonomy.Found, Form()],
    note: Annotated[str, Form(max_length=autonomy.MOST_REASON)] = "",
    back: Annotated[str, Form()] = "/incidents",
) -> Response:
    """Record what a person found at a stuck action's target, which frees that target."""
    async with services.databases.control.unit_of_work() as session:
        await autonomy.release_stuck(
            session, visitor.caller, action_id, found=found, note=note, clock=services.clock
        )
    services.glance.forget()
    return RedirectResponse(inner_path(back), status_code=303)
