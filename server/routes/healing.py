"""The fleet and its incidents, for programs."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from server.auth import FleetVisitor, ServicesDep
from server.problems import declared
from tools.healing import service as healing
from tools.healing.schemas import FleetView, IncidentView

router = APIRouter(prefix="/api", tags=["healing"])

IncidentId = Annotated[str, Path(examples=["inc-7k2m9qh4xw3c"], max_length=64)]


class IncidentList(BaseModel):
    """A page of incidents, open ones first."""

    incidents: list[IncidentView]


@router.get("/fleet", summary="The fleet as the healer last saw it", responses=declared())
async def fleet(
    services: ServicesDep,
    visitor: FleetVisitor,
    minutes: Annotated[
        int, Query(ge=0, le=120, description="How much of each signal's past to send.")
    ] = 10,
) -> FleetView:
    """Services, replicas, their states and recent signals."""
    async with services.databases.control.unit_of_work() as session:
        return await healing.fleet_view(
            session,
            visitor.caller,
            services.fleet.read(),
            series_minutes=minutes,
            now=services.clock.now(),
        )


@router.get("/incidents", summary="Incidents, open ones first", responses=declared())
async def incidents(
    services: ServicesDep,
    visitor: FleetVisitor,
    open_only: Annotated[
        bool | None, Query(alias="open", description="Only open ones, or only closed ones.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[datetime | None, Query(description="Opened before this moment.")] = None,
) -> IncidentList:
    """Without their timelines; ask for one to read it."""
    async with services.databases.control.unit_of_work() as session:
        found = await healing.list_incidents(
            session, visitor.caller, open_only=open_only, limit=limit, before=before
        )
    return IncidentList(incidents=found)


@router.get("/incidents/{incident_id}", summary="One incident", responses=declared(404))
async def incident(
    services: ServicesDep, visitor: FleetVisitor, incident_id: IncidentId
) -> IncidentView:
    """With its timeline, its evidence for and against, and the ids of its actions."""
    async with services.databases.control.unit_of_work() as session:
        return await healing.get_incident(session, visitor.caller, incident_id)
