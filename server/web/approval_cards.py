"""Approvals as cards: what is shown, when a card still changes, and what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.lifespan import Services
from server.visitor import Visitor
from server.web.words import OVER
from tools.autonomy import service as autonomy
from tools.autonomy.schemas import ApprovalView
from tools.healing import service as healing
from tools.healing.schemas import IncidentView
from tools.kit.errors import Forbidden, NotFound


@dataclass(frozen=True)
class Overview:
    """What waits for a person, and what is wrong."""

    approvals: list[ApprovalView]
    incidents: list[IncidentView]
    """Open ones that no approval here is about."""
    fleet: bool
    """Whether the visitor may see these at all."""


def settled(approval: ApprovalView) -> bool:
    """Whether the card of *approval* won't change by itself any more."""
    if approval.state == "pending":
        return False
    if approval.kind == "undo" and approval.state == "approved":
        return all(action.state in OVER - {"verified"} for action in approval.actions)
    return all(action.state in OVER for action in approval.actions)


async def approvals_named(
    services: Services, visitor: Visitor, approval_ids: Sequence[str]
) -> dict[str, ApprovalView]:
    """The approvals with these ids; one the visitor may not see is left out."""
    found: dict[str, ApprovalView] = {}
    if not approval_ids:
        return found
    async with services.databases.control.unit_of_work() as session:
        for approval_id in approval_ids:
            try:
                found[approval_id] = await autonomy.get_approval(
                    session, visitor.caller, approval_id
                )
            except (Forbidden, NotFound):
                continue
    return found


async def overview(
    services: Services, visitor: Visitor, *, leave_out: str | None = None
) -> Overview:
    """Pending approvals and the open incidents that none of them is about.

    Approvals of thread *leave_out* are left out: they stand in the conversation already.
    """
    if not visitor.caller.may_fleet:
        return Overview([], [], fleet=False)
    async with services.databases.control.unit_of_work() as session:
        pending = await autonomy.list_approvals(session, visitor.caller, state="pending")
        incidents = await healing.list_incidents(session, visitor.caller, open_only=True)
    elsewhere = [a for a in pending if leave_out is None or a.thread_id != leave_out]
    asked_for = {a.incident_id for a in elsewhere}
    return Overview(elsewhere, [i for i in incidents if i.id not in asked_for], fleet=True)
