"""Whether who asked may still do it: looked up when a turn begins, resumes, or is left to itself.

A run says who asked, never what they may do: roles, membership and the fleet's grant are read from
the control database each time, because hours may lie between a question and its answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from graphs.runs import Asker, Claimed
from memory.database import Database
from memory.tables.autonomy import Action
from tools.autonomy.service import withdraw_permits
from tools.identity.service import caller_now
from tools.kit.clock import Clock
from tools.kit.deps import Caller
from tools.kit.errors import Forbidden
from tools.kit.gatekeeper import Gatekeeper

NO_LONGER = "Who asked for it may no longer act on the fleet."
REFUSED = (
    "You may no longer act on the fleet. What had been approved for you and wasn't begun is "
    "withdrawn; an operator can give the right back."
)


@dataclass(frozen=True)
class Origin:
    """Where a permitted action comes from."""

    thread_id: str | None
    tenant_id: str
    person_id: str | None
    """Who asked for it; None for an engine."""


@dataclass(frozen=True)
class Admission:
    """Looks people up, and takes back the permits of those who lost the right."""

    control: Database
    gatekeeper: Gatekeeper
    clock: Clock

    async def admit(self, tenant_id: str, claimed: Claimed) -> Caller:
        """Who asks, with the rights they have at this moment in the tenant the run lies in.

        Raises:
            Forbidden: they are gone, or may no longer do what was approved for them; permits that
                nobody has begun to use are taken back.
        """
        try:
            caller = await self._caller_now(tenant_id, claimed.asker)
            if claimed.approved and not caller.may_fleet:
                raise Forbidden(REFUSED)
        except Forbidden:
            for approval_id in claimed.approved:
                _, actions = await self.gatekeeper.standing(approval_id)
                await self._take_back(action.id for action in actions)
            raise
        return caller

    async def origins(self, action_ids: Iterable[str]) -> Mapping[str, Origin]:
        """Where actions come from, by id."""
        async with self.control.unit_of_work() as session:
            rows = await session.execute(
                select(Action.id, Action.thread_id, Action.tenant_id, Action.person_id).where(
                    Action.id.in_(list(action_ids))
                )
            )
            return {row.id: Origin(row.thread_id, row.tenant_id, row.person_id) for row in rows}

    async def lapsed(self, action_id: str, origin: Origin) -> bool:
        """Whether the permit of *action_id* was taken back, its person having lost the right.

        An action that was begun is never lapsed: it must be brought to an end.
        """
        if origin.person_id is None:
            return False
        try:
            asker = Asker(origin.person_id, name="", via="session")
            if (await self._caller_now(origin.tenant_id, asker)).may_fleet:
                return False
        except Forbidden:
            pass
        return await self._take_back([action_id]) > 0

    async def _caller_now(self, tenant_id: str, asker: Asker) -> Caller:
        async with self.control.unit_of_work() as session:
            return await caller_now(
                session, tenant_id, asker.person_id, name=asker.name, via=asker.via
            )

    async def _take_back(self, action_ids: Iterable[str]) -> int:
        async with self.control.unit_of_work() as session:
            return await withdraw_permits(
                session, list(action_ids), reason=NO_LONGER, clock=self.clock
            )
