"""What the healer needs of the control database, which may be away at any moment."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tools.healing.schemas import FleetView, IncidentView
from tools.healing.watch import Sample

STORE_CALL = 5.0
"""Seconds a question to the database may take before it counts as not answered."""


class ControlStore(Protocol):
    """The control database as the loop needs it; every call may fail, and is then made again."""

    async def ping(self) -> object:
        """Return when it answers; raise when it doesn't."""
        ...

    async def open_incidents(self) -> list[IncidentView]:
        """All open incidents with their timelines."""
        ...

    async def save(self, incidents: Sequence[IncidentView]) -> None:
        """Write these incidents; what is there already is not written twice."""
        ...

    async def save_look(self, view: FleetView, samples: Sequence[Sample]) -> None:
        """Write what was seen and append the samples."""
        ...

    async def begun_since(self, since: datetime) -> Sequence[str]:
        """Targets of actions whose effect may have happened since *since*."""
        ...

    async def held(self, since: datetime) -> Sequence[str]:
        """Targets on which an action that moved after *since* is at work."""
        ...

    async def open_action(self, incident_id: str) -> tuple[str, str | None, str] | None:
        """Id, approval and state of the action that an incident still holds its target with."""
        ...
