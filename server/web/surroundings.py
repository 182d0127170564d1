"""What surrounds every page: which model answers, what waits for a person, what is wrong.

Read once for everybody with the same view who asks within a second, because every open page asks
every few seconds; a decision made here is seen here at once.
"""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from graphs.presence import present
from server.lifespan import Services
from server.visitor import Visitor
from tools.autonomy import service as autonomy
from tools.autonomy.schemas import ApprovalView
from tools.healing import service as healing
from tools.healing.schemas import IncidentView


@dataclass(frozen=True)
class Mode:
    """What answers in the chat, as every page says it."""

    state: str
    """`ready`, `starting` or `unknown` (the store is down, or nobody asked it)."""
    label: str
    """Empty where nobody asked."""
    detail: str


@dataclass(frozen=True)
class Surroundings:
    """The frame's figures, and what they count."""

    mode: Mode
    fleet: bool = False
    """Whether the visitor may see the rest at all."""
    approvals: tuple[ApprovalView, ...] = ()
    """Questions that wait for a person."""
    incidents: tuple[IncidentView, ...] = ()
    """Open ones."""


NO_STORE = Surroundings(
    mode=Mode("unknown", "Database down", "Which model answers is unknown until it is back.")
)
UNASKED = Surroundings(mode=Mode("unknown", "", ""))
"""Around an error, which reads nothing; a page that is signed in fills it at its next look."""


async def surroundings(services: Services, visitor: Visitor) -> Surroundings:
    """What surrounds the pages of *visitor*."""
    caller = visitor.caller
    key = ("surroundings", caller.tenant_id, caller.may_fleet, "operator" in caller.roles)

    async def read() -> Surroundings:
        async with services.databases.control.unit_of_work() as session:
            mode = await mode_now(session, services)
            if not caller.may_fleet:
                return Surroundings(mode)
            pending = await autonomy.list_approvals(session, caller, state="pending")
            incidents = await healing.list_incidents(session, caller, open_only=True)
        return Surroundings(mode, fleet=True, approvals=tuple(pending), incidents=tuple(incidents))

    return await services.glance.take(key, read)


async def mode_now(session: AsyncSession, services: Services) -> Mode:
    """Which model answers, as the agents worker says; `starting` while none is there."""
    presence = await present(session, "agents", clock=services.clock)
    if presence is None:
        return Mode("starting", "Agent starting", "The agents worker isn't there yet.")
    if presence.state != "ready":
        return Mode("starting", "Agent starting", "The agents worker is loading.")
    if presence.model == "embedded":
        detail = "A deterministic expert system inside the academy; no outside model is asked."
        return Mode("ready", "Embedded model", detail)
    detail = "The configured language model words the answers; it permits nothing."
    return Mode("ready", presence.model, detail)
