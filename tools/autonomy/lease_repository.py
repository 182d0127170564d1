"""Queries about who drives an action: its lease, by the database's own clock.

Clocks of the machines that drive are never asked: one that is wrong takes nothing over.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Update, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from memory.tables.autonomy import Action
from tools.autonomy.states import AT_WORK
from tools.kit.leases import LEASE


class LeaseRepository:
    """Queries over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def begun(self, executor: str) -> Sequence[tuple[Action, bool]]:
        """Begun and not ended, oldest first, each with whether its lease has run out."""
        rows = await self._session.execute(
            select(Action, _ran_out())
            .where(Action.executor == executor, Action.state.in_(AT_WORK))
            .order_by(Action.updated_at, Action.position)
        )
        return [(action, ran_out) for action, ran_out in rows]

    async def ran_out(self, action_id: str) -> bool:
        """Whether the lease of an action has run out; one that has none counts as such."""
        found = select(_ran_out()).where(Action.id == action_id)
        return bool(await self._session.scalar(found))

    async def lease(self, action_id: str, holder: str) -> None:
        """Lease a locked action to *holder*, whoever had it."""
        await self._session.execute(_leased(holder).where(Action.id == action_id))

    async def renew(self, action_id: str, holder: str) -> bool:
        """Lease it to *holder* for longer; False where *holder* hasn't got it."""
        renewed = await self._session.execute(
            _leased(holder)
            .where(Action.id == action_id, Action.driver == holder)
            .returning(Action.id)
        )
        return renewed.first() is not None


def _ran_out() -> ColumnElement[bool]:
    return func.coalesce(Action.lease_expires_at <= func.clock_timestamp(), True)


def _leased(holder: str) -> Update:
    until = func.clock_timestamp() + LEASE
    return (
        update(Action)
        .values(driver=holder, lease_expires_at=until)
        .execution_options(synchronize_session=False)
    )
