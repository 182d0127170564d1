"""Approvals in advance, for when the database itself is what broke, for programs."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from server.auth import FleetVisitor, ServicesDep
from server.lifespan import Services
from server.problems import declared
from tools.autonomy import policy, standing_approvals
from tools.autonomy.standing_folder import take_back
from tools.autonomy.standing_schemas import StandingView
from tools.kit.deps import Caller

router = APIRouter(prefix="/api/standing-approvals", tags=["autonomy"])

StandingId = Annotated[str, Path(examples=["sta-7k2m9qh4xw3c"], max_length=64)]


class StandingList(BaseModel):
    """Approvals in advance, newest first."""

    standing_approvals: list[StandingView]


class Grant(BaseModel):
    """One operation on one target, approved beforehand."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "operation": "healing.restart_replica",
                    "target": "catalog/catalog-1",
                    "days": 7,
                    "reason": "Nobody is awake at night to start the catalogue again.",
                }
            ]
        },
    )

    operation: str = Field(max_length=120)
    target: str = Field(max_length=200)
    days: int = Field(ge=1, le=policy.STANDING_APPROVAL_DAYS)
    reason: str = Field(min_length=1, max_length=standing_approvals.MOST_REASON)
    """Everybody who looks will read it."""


@router.get("", summary="Approvals in advance", responses=declared())
async def listed(services: ServicesDep, visitor: FleetVisitor) -> StandingList:
    """Those in force, and those that ended or were revoked."""
    async with services.databases.control.unit_of_work() as session:
        found = await standing_approvals.list_standing(
            session, visitor.caller, operations=services.operations, clock=services.clock
        )
    return StandingList(standing_approvals=found)


@router.post("", summary="Approve in advance", status_code=201, responses=declared(404, 409))
async def give(services: ServicesDep, visitor: FleetVisitor, body: Grant) -> StandingView:
    """Counts only while the database is away; while it is there, people are asked as ever.

    Each repair under it uses up a permit that is good for an hour and once.
    """
    return await give_standing(services, visitor.caller, body)


@router.post("/{approval_id}/revoke", summary="Take an approval back", responses=declared(404, 409))
async def revoke(
    services: ServicesDep, visitor: FleetVisitor, approval_id: StandingId
) -> StandingView:
    """Its permits are gone when this answers."""
    return await revoke_standing(services, visitor.caller, approval_id)


async def give_standing(services: Services, caller: Caller, grant: Grant) -> StandingView:
    """Give an approval in advance as *caller*; pages and API alike.

    Raises:
        CapabilityError: as `standing_approvals.give`.
    """
    async with services.databases.control.unit_of_work() as session:
        return await standing_approvals.give(
            session,
            caller,
            grant.operation,
            grant.target,
            days=grant.days,
            reason=grant.reason,
            operations=services.operations,
            fleet=services.fleet.read(),
            clock=services.clock,
        )


async def revoke_standing(services: Services, caller: Caller, approval_id: str) -> StandingView:
    """Take an approval back as *caller*, and its permits with it; pages and API alike.

    Raises:
        CapabilityError: as `standing_approvals.revoke`.
        OSError: the permits' folder can't be written; the healer removes them within a second.
    """
    async with services.databases.control.unit_of_work() as session:
        revoked = await standing_approvals.revoke(
            session, caller, approval_id, operations=services.operations, clock=services.clock
        )
    folder = services.settings.paths.standing
    await asyncio.to_thread(take_back, folder, approval_id=approval_id)
    return revoked
