"""Fleet: every service and replica as the healer last saw it, with a chart per signal."""

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from server.auth import FleetVisitor, Member, ServicesDep
from server.lifespan import Services
from server.visitor import Visitor
from server.web.rendering import answer, fragment, html
from server.web.surroundings import surroundings
from tools.healing import service as healing

router = APIRouter(include_in_schema=False)


async def fleet_part(request: Request, services: Services, visitor: Visitor) -> Markup:
    """The services and replicas as the healer last wrote them down."""

    async def render() -> str:
        async with services.databases.control.unit_of_work() as session:
            fleet = await healing.fleet_view(
                session, visitor.caller, services.fleet.read(), now=services.clock.now()
            )
        return fragment(request, "parts/fleet.html", visitor=visitor, fleet=fleet)

    return Markup(await services.glance.take("fleet", render))  # noqa: S704 - rendered two lines above


@router.get("/fleet")
async def fleet_page(request: Request, services: ServicesDep, visitor: FleetVisitor) -> Response:
    """The whole page."""
    part = await fleet_part(request, services, visitor)
    frame = await surroundings(services, visitor)
    return html(request, "fleet.html", visitor=visitor, frame=frame, area="fleet", part=part)


@router.get("/fleet/now")
async def fleet_now(request: Request, services: ServicesDep, visitor: FleetVisitor) -> Response:
    """The part that changes; merged into the page so that focus and scroll stay."""
    return answer(await fleet_part(request, services, visitor))


@router.get("/pulse")
async def pulse(request: Request, services: ServicesDep, visitor: Member) -> Response:
    """What the frame of every page shows: model mode and what waits for a person."""
    frame = await surroundings(services, visitor)
    return html(request, "parts/pulse.html", visitor=visitor, frame=frame)
