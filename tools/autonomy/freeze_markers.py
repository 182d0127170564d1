"""Freezes in the folder `standing`: what a person ordered and the database doesn't know of yet.

A marker is there before the freeze is stored and goes after, so that no moment lies between. The
healer reads them before each act, and renewal issues nothing against one. A marker that can't be
read is a freeze all the same: of the operation its name says, of all of them where it says none.
"""

import json
import re
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from tools.autonomy.policy import CHANGE_FREEZE
from tools.autonomy.standing_folder import replace, sync, take_back_held
from tools.autonomy.standing_schemas import FreezeMarker
from tools.autonomy.standing_seal import Seal, Unsealed

MARKERS = "freeze-*"
ALL = "all"
"""What stands for `*` in a file's name."""
UNREADABLE = "A freeze marker on disk that can't be read counts as a freeze: {why}."
NAMED = re.compile(r"freeze-([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)\.json")
"""The name of a marker of one operation."""


def found(folder: Path) -> list[Path]:
    """Every marker, readable or not."""
    return sorted(folder.glob(MARKERS))


def there_are(folder: Path) -> bool:
    """Whether any marker is there, readable or not."""
    return bool(found(folder))


def frozen(folder: Path, operation: str) -> str:
    """Why *operation* is frozen by a marker, as a clause; empty where it isn't."""
    for path in found(folder):
        if operation_of(path) in (operation, CHANGE_FREEZE):
            return f"it is frozen on this machine ({path.name})"
    return ""


def operation_of(path: Path) -> str:
    """The operation that a marker's name says; `*` for every name that says none."""
    named = NAMED.fullmatch(path.name)
    return named.group(1) if named else CHANGE_FREEZE


def place(folder: Path, marker: FreezeMarker, seal: Seal | None) -> tuple[bool, int]:
    """Freeze on this machine: whether the marker is new, and how many permits were taken back.

    Without a *seal* it is kept as it is; it freezes as well, and its reason is told as unproven.
    Call under the folder's lock.

    Raises:
        OSError: the disk refuses.
    """
    content = marker.model_dump(mode="json")
    fresh = not is_placed(folder, marker.operation)
    if fresh:
        sealed = content if seal is None else seal.close(content)
        name = path_of(folder, marker.operation).name
        replace(folder, name, json.dumps(sealed, sort_keys=True).encode())
    return fresh, take_back_held(folder, marker.operation)


def is_placed(folder: Path, operation: str) -> bool:
    """Whether there is a marker of *operation*; it may be no name that a file could have."""
    return path_of(folder, operation) in found(folder)


def is_of(folder: Path, order: FreezeMarker) -> bool:
    """Whether the marker of the order's operation was placed for *order*."""
    try:
        placed = json.loads(path_of(folder, order.operation).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(placed, dict) and order.model_dump(mode="json").items() <= placed.items()


def remove(folder: Path, operation: str) -> None:
    """Remove the marker of *operation*, if there is one. Call under the folder's lock.

    Raises:
        OSError: the disk refuses.
    """
    if is_placed(folder, operation):
        path_of(folder, operation).unlink(missing_ok=True)
        sync(folder)


def read(path: Path, seal: Seal, now: datetime) -> tuple[FreezeMarker, str]:
    """What a marker says, and what is wrong with it; empty where nothing is."""
    try:
        marker = FreezeMarker.model_validate(seal.open(json.loads(path.read_bytes())))
        if marker.operation == operation_of(path):
            return marker, ""
        why = "its name says another operation"
    except Unsealed as error:
        why = str(error)
    except (OSError, ValueError, ValidationError) as error:
        why = f"it can't be read ({type(error).__name__})"
    doubtful = FreezeMarker(
        operation=operation_of(path),
        reason=UNREADABLE.format(why=why),
        person_id="unknown",
        actor="unknown",
        at=now,
    )
    return doubtful, why


def path_of(folder: Path, operation: str) -> Path:
    """Where the marker of *operation* is kept."""
    return folder / f"freeze-{ALL if operation == CHANGE_FREEZE else operation}.json"
