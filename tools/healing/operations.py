"""The gated effects of the healing room, in one flat list."""

from pathlib import Path
from typing import Any

from tools.healing.archive_old_data import ArchiveOldData
from tools.healing.policy import HealingPolicy
from tools.healing.restart_replica import RestartReplica
from tools.kit.operation import Operation


def build_operations(
    *, archive_folder: Path, policy: HealingPolicy | None = None
) -> dict[str, Operation[Any]]:
    """Every operation of this room by name.

    Args:
        archive_folder: where archived files go; best on another filesystem than the data.
        policy: thresholds; the room's own where none is given.
    """
    limits = policy or HealingPolicy()
    operations: list[Operation[Any]] = [
        RestartReplica(limits),
        ArchiveOldData(archive_folder, limits),
    ]
    return {operation.name: operation for operation in operations}
