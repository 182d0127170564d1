"""An open incident about a replica that hangs, as the healer would have written it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from memory.database import Database
from memory.ids import new_id
from memory.tables.healing import Incident

OPEN_FOR = timedelta(seconds=20)
"""How long ago it was opened."""
CAUSE = "Its process is stopped by a signal (state T)."
EXPLANATION = "3 probes in a row got no answer within 1 s."
EVIDENCE = ("3 probes in a row timed out",)


async def open_incident(
    control: Database,
    target: str,
    *,
    at: datetime,
    kind: str = "hung",
    cause: str = CAUSE,
    explanation: str = EXPLANATION,
    evidence: Sequence[str] = EVIDENCE,
    error: str = "",
) -> str:
    """Store an explained incident about *target* that is still open; its id.

    Args:
        control: where incidents are kept.
        target: `service/replica`.
        at: now.
        kind: what went wrong, such as `hung`.
        cause: what the healer found.
        explanation: how it found that.
        evidence: lines that speak for the cause.
        error: what the last probe said, where a probe said something.
    """
    service, _, replica = target.partition("/")
    incident = Incident(
        id=new_id("inc"),
        service=service,
        replica=replica,
        target=target,
        kind=kind,
        state="explained",
        title=f"{replica} does not answer",
        cause=cause,
        explanation=explanation,
        evidence=[{"for": True, "text": line} for line in evidence],
        before={"error": error} if error else {},
        after={},
        resolution="",
        opened_at=at - OPEN_FOR,
        updated_at=at,
        closed_at=None,
    )
    async with control.unit_of_work() as session:
        session.add(incident)
    return incident.id
