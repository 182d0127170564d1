"""Incidents: what went wrong, why, what was done about it, and whether it helped."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from server.auth import FleetVisitor, ServicesDep
from server.lifespan import Services
from server.visitor import Visitor
from server.web.rendering import html
from server.web.surroundings import surroundings
from tools.autonomy import service as autonomy
from tools.autonomy.schemas import ActionView, ApprovalView
from tools.healing import service as healing
from tools.healing.schemas import IncidentView

router = APIRouter(include_in_schema=False)

CLOSED_LISTED = 40


async def listed(services: Services, visitor: Visitor, before: str | None) -> dict[str, Any]:
    """Open incidents and a page of closed ones."""
    moment = None
    async with services.databases.control.unit_of_work() as session:
        if before is not None:
            moment = (await healing.get_incident(session, visitor.caller, before)).opened_at
        opened = await healing.list_incidents(session, visitor.caller, open_only=True)
        closed = await healing.list_incidents(
            session, visitor.caller, open_only=False, limit=CLOSED_LISTED, before=moment
        )
    return {
        "opened": opened if before is None else [],
        "closed": closed,
        "older": closed[-1].id if len(closed) == CLOSED_LISTED else None,
        "first_page": before is None,
    }


@router.get("/incidents")
async def incidents_page(
    request: Request,
    services: ServicesDep,
    visitor: FleetVisitor,
    before: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """The list, open ones first."""
    return html(
        request, "incidents.html", visitor=visitor, frame=await surroundings(services, visitor),
        area="incidents", **await listed(services, visitor, before),
    )  # fmt: skip


@router.get("/incidents/now")
async def incidents_now(request: Request, services: ServicesDep, visitor: FleetVisitor) -> Response:
    """The first page of the list as it stands now."""
    found = await listed(services, visitor, None)
    return html(request, "parts/incidents.html", visitor=visitor, **found)


async def one(services: Services, visitor: Visitor, incident_id: str) -> dict[str, Any]:
    """One incident, its actions and the questions they hang on."""
    async with services.databases.control.unit_of_work() as session:
        incident = await healing.get_incident(session, visitor.caller, incident_id)
        actions = await autonomy.list_actions(
            session, visitor.caller, incident_id=incident_id, limit=50
        )
        approvals: dict[str, ApprovalView] = {}
        for action in actions:
            if action.approval_id is not None and action.approval_id not in approvals:
                approvals[action.approval_id] = await autonomy.get_approval(
                    session, visitor.caller, action.approval_id
                )
    return {
        "incident": incident,
        "approvals": list(approvals.values()),
        "unasked": [action for action in actions if action.approval_id is None],
        "undoable": [action for action in actions if may_undo(action)],
        "figures": figures(incident),
    }


def may_undo(action: ActionView) -> bool:
    """Whether asking for an undo makes sense: it is verified and can be taken back."""
    return action.state == "verified" and action.reversibility in ("exact", "compensating")


def figures(incident: IncidentView) -> list[tuple[str, Any, Any]]:
    """Name, before and after of everything measured, in the order it was measured in."""
    names = dict.fromkeys([*incident.before, *incident.after])
    return [(name, incident.before.get(name), incident.after.get(name)) for name in names]


@router.get("/incidents/{incident_id}")
async def incident_page(
    request: Request, services: ServicesDep, visitor: FleetVisitor, incident_id: str
) -> Response:
    """One incident from detection to close."""
    found = await one(services, visitor, incident_id)
    return html(
        request, "incident.html", visitor=visitor, frame=await surroundings(services, visitor),
        area="incidents", **found,
    )  # fmt: skip


@router.get("/incidents/{incident_id}/now")
async def incident_now(
    request: Request, services: ServicesDep, visitor: FleetVisitor, incident_id: str
) -> Response:
    """The part that changes while the incident is open."""
    found = await one(services, visitor, incident_id)
    return html(request, "parts/incident.html", visitor=visitor, **found)
