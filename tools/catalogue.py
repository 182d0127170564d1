"""The one list of rooms: what each can read, and the operations it owns.

Light on purpose, for web replicas and the healer read it: no agent library is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.healing.operations import build_operations as healing_operations
from tools.kit.errors import Invalid
from tools.kit.operation import Operation


@dataclass(frozen=True)
class Room:
    """What one room offers."""

    summary: str
    tools: tuple[str, ...] = ()
    """Names of its read tools, functions of its `toolset.py`."""
    operations: tuple[str, ...] = ()
    """Names of its gated effects."""


ROOMS: Mapping[str, Room] = {
    "autonomy": Room(
        summary="actions, approvals, permits, the gate and the audit log",
        tools=("list_actions", "list_approvals", "read_audit", "autonomy_levels"),
    ),
    "healing": Room(
        summary="the fleet, its signals and its incidents",
        tools=(
            "fleet_status",
            "service_status",
            "list_incidents",
            "explain_incident",
            "read_log",
        ),
        operations=("healing.restart_replica", "healing.archive_old_data"),
    ),
    "identity": Room(summary="people, sessions, keys and tenants"),
    "recall": Room(summary="what was remembered of earlier incidents", tools=("recall_notes",)),
}

OPERATION_NAMES: tuple[str, ...] = tuple(
    name for room in ROOMS.values() for name in room.operations
)


def build_operations(*, archive_folder: Path) -> dict[str, Operation[Any]]:
    """One instance of every operation there is, by name.

    Raises:
        Invalid: a room built other operations than are listed here.
    """
    built = healing_operations(archive_folder=archive_folder)
    if set(built) != set(OPERATION_NAMES):
        odd = ", ".join(sorted(set(built) ^ set(OPERATION_NAMES)))
        raise Invalid(f"The catalogue and the rooms disagree on operations: {odd}.")
    return built
