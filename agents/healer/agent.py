"""The fleet healer as an agent: its rooms, what a caller is granted of them, and its manual."""

from pathlib import Path

from agents.build import Blueprint
from tools.autonomy import policy
from tools.autonomy import toolset as autonomy
from tools.healing import toolset as healing
from tools.kit.deps import Caller
from tools.recall import toolset as recall

NAME = "healer"
ROOMS = ("healing", "autonomy", "recall")
INSTRUCTIONS = Path(__file__).with_name("instructions.md")

TITLES = {
    "fleet_status": "Look at the fleet",
    "service_status": "Look at a service",
    "list_incidents": "List incidents",
    "explain_incident": "Explain an incident",
    "read_log": "Read a log",
    "list_actions": "List actions",
    "list_approvals": "List open questions",
    "read_audit": "Read the audit log",
    "autonomy_levels": "See what may run alone",
    "recall_notes": "Recall notes",
    "restart_replica": "Restart",
    "archive_old_data": "Archive old data",
    "undo_action": "Undo an action",
}
"""What a person reads on a tool call's card."""


def granted(caller: Caller) -> frozenset[str]:
    """The tools *caller* may use: all with access to the fleet, none without."""
    if not caller.may_fleet:
        return frozenset()
    return frozenset(
        (*healing.READS, *healing.DOORS, *autonomy.READS, *autonomy.DOORS, *recall.READS)
    )


def manual() -> str:
    """What the model is told, the gate's limits included."""
    return f"{INSTRUCTIONS.read_text(encoding='utf-8')}\n{policy.sentence()}\n"


def blueprint(caller: Caller) -> Blueprint:
    """The healer for *caller*."""
    return Blueprint(
        name=NAME,
        instructions=manual(),
        rooms=ROOMS,
        granted=granted(caller),
    )
