"""Approvals as cards: what is shown, when a card still changes, and what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.lifespan import Services
from server.visitor import Visitor
from server.web.surroundings import Surroundings
from server.web.words import OVER
from tools.autonomy import service as autonomy
from tools.autonomy.schemas import ApprovalView
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


def overview(around: Surroundings, *, leave_out: str | None = None) -> Overview:
    """Pending approvals and the open incidents that none of them is about.

    Approvals of thread *leave_out* are left out: they stand in the conversation already.
    """
    elsewhere = [a for a in around.approvals if leave_out is None or a.thread_id != leave_out]
    asked_for = {approval.incident_id for approval in elsewhere}
    others = [incident for incident in around.incidents if incident.id not in asked_for]
    return Overview(elsewhere, others, fleet=around.fleet)
