"""Fleet: every service and replica as the healer last saw it, with a chart per signal."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.auth import FleetVisitor, Member, ServicesDep
from server.lifespan import Services
from server.visitor import Visitor
from server.web.rendering import frame_of, html
from tools.healing import service as healing
from tools.healing.schemas import FleetView

router = APIRouter(include_in_schema=False)


async def fleet_seen(services: Services, visitor: Visitor) -> FleetView:
    """The fleet as the healer last wrote it down."""
    async with services.databases.control.unit_of_work() as session:
        return await healing.fleet_view(
            session, visitor.caller, services.fleet.read(), now=services.clock.now()
        )


@router.get("/fleet")
async def fleet_page(request: Request, services: ServicesDep, visitor: FleetVisitor) -> Response:
    """The whole page."""
    fleet = await fleet_seen(services, visitor)
    frame = await frame_of(request, visitor)
    return html(request, "fleet.html", visitor=visitor, frame=frame, area="fleet", fleet=fleet)


@router.get("/fleet/now")
async def fleet_now(request: Request, services: ServicesDep, visitor: FleetVisitor) -> Response:
    """The part that changes; merged into the page so that focus and scroll stay."""
    fleet = await fleet_seen(services, visitor)
    return html(request, "parts/fleet.html", visitor=visitor, fleet=fleet)


@router.get("/pulse")
async def pulse(request: Request, visitor: Member) -> Response:
    """What the frame of every page shows: model mode and what waits for a person."""
    frame = await frame_of(request, visitor)
    return html(request, "parts/pulse.html", visitor=visitor, frame=frame)
