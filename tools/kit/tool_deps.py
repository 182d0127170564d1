"""What a tool may use while it answers one call: who asks, the clock, the stores, the fleet.

Identity, tenant and the person's own words come from here, never from a model's arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from memory.database import Database
from tools.kit.asked import Reading
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.gatekeeper import Gatekeeper
from tools.kit.infrastructure import Infrastructure
from tools.kit.provenance import REPLICA, SERVICE, WORDS, Identifiers


class Taint:
    """Whether a conversation has read text from outside, and from where.

    Numbers, process states and HTTP statuses don't taint; log lines, answer bodies and recalled
    notes do. Once tainted, a conversation stays so: the text remains in its history.
    """

    def __init__(self, sources: Sequence[str] = ()) -> None:
        self._sources = list(dict.fromkeys(sources))

    def __bool__(self) -> bool:
        return bool(self._sources)

    @property
    def sources(self) -> list[str]:
        """What was read, in order, each once."""
        return list(self._sources)

    def mark(self, source: str) -> None:
        """Say that text from *source* has been read, such as `the log of catalog-1`."""
        if source not in self._sources:
            self._sources.append(source)


@dataclass(frozen=True)
class Note:
    """One remembered text: outside content to whoever reads it."""

    id: str
    text: str
    at: datetime | None = None


class Memory(Protocol):
    """What an agent can recall of its tenant; implemented by the recall room."""

    async def search(self, caller: Caller, query: str, *, limit: int = 5) -> Sequence[Note]:
        """The remembered notes of the caller's tenant nearest to *query*, best first."""
        ...

    async def keep(self, caller: Caller, note_id: str, text: str, *, kind: str) -> None:
        """Remember *text* under *note_id* for the caller's tenant, replacing what was there."""
        ...


@dataclass(frozen=True)
class ToolDeps:
    """One specialist's turn as its tools see it."""

    caller: Caller
    clock: Clock
    control: Database
    infrastructure: Infrastructure
    gatekeeper: Gatekeeper
    memory: Memory
    thread_id: str
    run_id: str
    asked: Reading
    """What the person's own words of this turn ask for: the only source of a request's warrant."""
    taint: Taint = field(default_factory=Taint)
    identifiers: Identifiers = field(default_factory=Identifiers)
    """What trusted reads returned in this conversation."""

    def trusted(self) -> Identifiers:
        """Those identifiers, and the ones that the person's own words of this turn ask about."""
        found = Identifiers(self.identifiers.kept)
        requests = self.asked.requests
        found.learn(SERVICE, (one.service for one in requests if one.service), WORDS)
        found.learn(REPLICA, (one.replica for one in requests if one.replica), WORDS)
        return found
