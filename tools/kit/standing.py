"""Acting while the store is away: only what was permitted beforehand, and only once per permit.

The incident loop meets it as this protocol; the autonomy room keeps the permits and the journal.
"""

from dataclasses import dataclass
from typing import Protocol

from tools.kit.gatekeeper import Intention, Settled


@dataclass(frozen=True)
class Readied:
    """An action that a standing permit would let run; nothing has happened yet."""

    action_id: str
    summary: str
    """What would be done, such as `Restart catalog-1 of catalog`."""
    diff: tuple[str, ...]
    """The plan's lines."""
    reason: str
    """Who or what permitted it beforehand, in a sentence."""


@dataclass(frozen=True)
class Withheld:
    """Nothing may be done now."""

    reason: str
    """Why not, as a clause that a person can read."""


class StandingPermits(Protocol):
    """What may be done without the store, and what was."""

    @property
    def owes(self) -> bool:
        """Whether something was done that the store doesn't know of yet."""
        ...

    @property
    def problems(self) -> list[str]:
        """What is wrong with permits or journal, in sentences."""
        ...

    async def ready(self, intention: Intention, *, incident_id: str) -> Readied | Withheld:
        """Plan *intention* and look for the permit that covers it; no effect, nothing used up."""
        ...

    async def drive(self, action_id: str) -> Settled:
        """Use the permit and bring a readied action to its end.

        Raises:
            Conflict: the permit is gone, used, or no longer good; nothing has happened.
            NotFound: no such action was readied.
            Unavailable: the planned-on state couldn't be looked at; nothing has happened.
        """
        ...

    async def outcome(self, action_id: str) -> Settled | None:
        """Where an action stands that was driven here; None when it was never begun."""
        ...
