"""Every query about runs of suites and the worlds they played."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from memory.tables.evidence import SuiteRun, TrialRun
from memory.tables.trials import Trial

GOING = ("queued", "running")
"""States of a run that nobody need ask for again."""


class EvidenceRepository:
    """Runs, worlds and signed trials of the control database."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    def add(self, run: SuiteRun) -> None:
        """Put a run to those that wait."""
        self.session.add(run)

    async def run(self, run_id: str, *, lock: bool = False) -> SuiteRun | None:
        """One run; *lock* holds its row until the unit of work ends."""
        return await self.session.get(SuiteRun, run_id, with_for_update=lock or None)

    async def runs(self, suite: str | None, *, limit: int) -> Sequence[SuiteRun]:
        """Runs, newest first."""
        query = select(SuiteRun).order_by(SuiteRun.created_at.desc(), SuiteRun.id).limit(limit)
        if suite is not None:
            query = query.where(SuiteRun.suite == suite)
        return (await self.session.scalars(query)).all()

    async def going(self, suite: str) -> SuiteRun | None:
        """The run of a suite that waits or is played now."""
        query = select(SuiteRun).where(SuiteRun.suite == suite, SuiteRun.state.in_(GOING))
        return (await self.session.scalars(query.order_by(SuiteRun.created_at).limit(1))).first()

    async def worlds(self, run_id: str) -> Sequence[TrialRun]:
        """Worlds of a run, those of controls too, in the order in which they began."""
        query = select(TrialRun).where(TrialRun.run_id == run_id)
        return (await self.session.scalars(query.order_by(TrialRun.began_at, TrialRun.id))).all()

    async def world(self, trial_id: str) -> TrialRun | None:
        """One played world."""
        return await self.session.get(TrialRun, trial_id)

    async def trials(self, operation: str, fingerprint: str) -> Sequence[Trial]:
        """Signed lines that begin a trial or end it, in their order."""
        query = (
            select(Trial)
            .where(Trial.operation == operation, Trial.fingerprint == fingerprint)
            .order_by(Trial.seq)
        )
        return (await self.session.scalars(query)).all()

    async def operations_of(self, trial_id: str) -> Sequence[str]:
        """Operations that a played world is evidence about."""
        query = select(Trial.operation).where(Trial.trial == trial_id).distinct()
        return (await self.session.scalars(query.order_by(Trial.operation))).all()
