"""Queries of standing approvals and of what a standing permit must know."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from memory.tables.autonomy import OPEN_STATES, Action, Permit
from memory.tables.standing import StandingApproval
from memory.tables.trials import Withdrawal
from tools.autonomy.policy import UNHELPFUL
from tools.autonomy.standing_schemas import Effect


class StandingRepository:
    """Queries over one session of the control database."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: StandingApproval) -> None:
        """Put a new approval into the unit of work."""
        self._session.add(row)

    async def approval(self, approval_id: str) -> StandingApproval | None:
        """One approval, locked."""
        return (
            await self._session.execute(
                select(StandingApproval).where(StandingApproval.id == approval_id).with_for_update()
            )
        ).scalar_one_or_none()

    async def active(
        self, now: datetime, *, operation: str | None = None, target: str | None = None
    ) -> Sequence[StandingApproval]:
        """Approvals in force, the one that holds longest first."""
        query = select(StandingApproval).where(
            StandingApproval.revoked_at.is_(None), StandingApproval.expires_at > now
        )
        if operation is not None:
            query = query.where(StandingApproval.operation == operation)
        if target is not None:
            query = query.where(StandingApproval.target == target)
        rows = await self._session.execute(
            query.order_by(StandingApproval.expires_at.desc(), StandingApproval.id)
        )
        return rows.scalars().all()

    async def listed(self, tenant_id: str | None, *, limit: int) -> Sequence[StandingApproval]:
        """All of them, newest first; of every tenant where *tenant_id* is None."""
        query = select(StandingApproval).order_by(
            StandingApproval.given_at.desc(), StandingApproval.id
        )
        if tenant_id is not None:
            query = query.where(StandingApproval.tenant_id == tenant_id)
        return (await self._session.execute(query.limit(limit))).scalars().all()

    async def used(self, permit_ids: Collection[str]) -> frozenset[str]:
        """Those of *permit_ids* that were used."""
        rows = await self._session.execute(select(Permit.id).where(Permit.id.in_(permit_ids)))
        return frozenset(rows.scalars())

    async def effects(self, since: datetime) -> list[Effect]:
        """Effects begun since then, on whatever target."""
        rows = await self._session.execute(
            select(Action.operation, Action.target, Permit.consumed_at)
            .join(Permit, Permit.action_id == Action.id)
            .where(Permit.consumed_at >= since)
        )
        return [Effect(operation=o, target=t, at=at) for o, t, at in rows.all() if at]

    async def unhelpful(self, since: datetime) -> list[Effect]:
        """Actions that ended since then without having helped; a wanted undo is none of them."""
        held = Action.check["ok"].as_boolean().is_(True)
        rows = await self._session.execute(
            select(Action.operation, Action.target, Action.updated_at).where(
                Action.state.in_(UNHELPFUL),
                Action.updated_at >= since,
                or_(Action.check.is_(None), ~held),
            )
        )
        return [Effect(operation=o, target=t, at=at) for o, t, at in rows.all()]

    async def withdrawn(self, fingerprints: Collection[str]) -> frozenset[tuple[str, str]]:
        """Operation and fingerprint of each autonomy that was taken back."""
        rows = await self._session.execute(
            select(Withdrawal.operation, Withdrawal.fingerprint).where(
                Withdrawal.fingerprint.in_(fingerprints)
            )
        )
        return frozenset((row.operation, row.fingerprint) for row in rows)

    async def held(self) -> dict[str, str]:
        """Targets of open actions, each with its action's state."""
        rows = await self._session.execute(
            select(Action.target, Action.state).where(Action.state.in_(OPEN_STATES))
        )
        return {row.target: row.state for row in rows}
