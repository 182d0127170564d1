"""Every query about evidence: runs of suites, worlds played, fingerprints tried, live record."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from memory.tables.autonomy import Action
from memory.tables.evidence import SuiteRun, TrialRun
from memory.tables.leases import Lease
from memory.tables.trials import Trial, TriedFingerprint, Withdrawal

GOING = ("queued", "running")
"""States of a run that nobody need ask for again."""
RUNS_LOCK = "autonomy:runs"
"""Name of the lease row under which runs are asked for; only its row lock is used."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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

    async def hold_runs(self) -> None:
        """Let one run at a time be asked for, so that two people can't both find none going."""
        await self.session.execute(
            upsert(Lease)
            .values(name=RUNS_LOCK, owner="", expires_at=EPOCH, fence=0)
            .on_conflict_do_nothing()
        )
        await self.session.execute(
            select(Lease.name).where(Lease.name == RUNS_LOCK).with_for_update()
        )

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

    async def tried(self, operation: str) -> Sequence[TriedFingerprint]:
        """Fingerprints that trials of *operation* were run under, oldest first."""
        query = select(TriedFingerprint).where(TriedFingerprint.operation == operation)
        return (await self.session.scalars(query.order_by(TriedFingerprint.first_at))).all()

    async def withdrawals(self, operation: str) -> Sequence[Withdrawal]:
        """When and why autonomy of *operation* was taken back, newest first."""
        query = select(Withdrawal).where(Withdrawal.operation == operation)
        return (await self.session.scalars(query.order_by(Withdrawal.at.desc()))).all()

    async def ends(self, operation: str) -> dict[str, int]:
        """How the actions of *operation* ended or where they stand: state to count."""
        rows = await self.session.execute(
            select(Action.state, func.count())
            .where(Action.operation == operation)
            .group_by(Action.state)
        )
        return {row[0]: row[1] for row in rows}
