"""Runs kept in the control database, where every world of ours is signed as evidence."""

import contextlib
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from evals.earning import Earning
from evals.records import RunRecord, TrialRecord
from evals.suites.base import Case, Played
from memory.database import Database
from memory.tables.evidence import SuiteRun, TrialRun
from memory.tables.trials import Trial
from tools.autonomy.evidence_source import StoredEvidence
from tools.kit.clock import Clock

OWN_COLUMNS = frozenset({"trajectory", "detected_s", "recovered_s"})
"""Fields of `Played` that have a column of their own."""


class StoredRuns:
    """Runs in *control*; reading needs no *earning*, playing does.

    Args:
        control: the control database.
        clock: for the heads of the evidence.
        earning: signs the worlds of the suite being played.
        source: reads back what they prove.
    """

    earns = True

    def __init__(
        self,
        control: Database,
        clock: Clock,
        *,
        earning: Earning | None = None,
        source: StoredEvidence | None = None,
    ) -> None:
        self._control = control
        self._clock = clock
        self._earning = earning
        self._source = source

    async def save(self, run: RunRecord) -> None:
        """Add or replace the run; a stop that somebody asked for meanwhile is kept."""
        values = run.model_dump(mode="json", include={"options", "progress"})
        values |= run.model_dump(exclude={"options", "progress"})
        fresh = upsert(SuiteRun).values(**values)
        changed = {name: fresh.excluded[name] for name in values if name != "id"}
        if run.state == "running":
            changed.pop("state")
        async with self._control.unit_of_work() as session:
            await session.execute(
                fresh.on_conflict_do_update(index_elements=[SuiteRun.id], set_=changed)
            )

    async def claim(self, run: RunRecord) -> bool:
        """Take the run up; False when its state is another by now than *run* says."""
        taken = (
            update(SuiteRun)
            .where(SuiteRun.id == run.id, SuiteRun.state == run.state)
            .values(state="running")
            .returning(SuiteRun.id)
        )
        async with self._control.unit_of_work() as session:
            return (await session.execute(taken)).scalar_one_or_none() is not None

    async def begin(self, trial: TrialRecord, case: Case) -> None:
        """Keep and sign that a world begins."""
        await self._write(trial, case, ended=False)

    async def end(self, trial: TrialRecord, case: Case) -> None:
        """Keep and sign how it ended."""
        await self._write(trial, case, ended=True)

    async def _write(self, trial: TrialRecord, case: Case, *, ended: bool) -> None:
        assert self._earning is not None, "playing needs the key"
        alone = contextlib.nullcontext() if trial.control else self._earning.recording()
        async with self._earning.lock, alone, self._control.unit_of_work() as session:
            await session.merge(_row(trial))
            await session.flush()
            if not trial.control:
                sign = self._earning.ended if ended else self._earning.begun
                await sign(session, trial, case)

    async def trials(self, run_id: str) -> list[TrialRecord]:
        """The worlds of a run, in the order in which they began."""
        query = (
            select(TrialRun)
            .where(TrialRun.run_id == run_id)
            .order_by(TrialRun.began_at, TrialRun.id)
        )
        async with self._control.unit_of_work() as session:
            return [_trial(row) for row in (await session.scalars(query)).all()]

    async def runs(self, suite: str | None = None) -> list[RunRecord]:
        """All runs, or those of one suite, the newest first."""
        query = select(SuiteRun).order_by(SuiteRun.created_at.desc())
        if suite is not None:
            query = query.where(SuiteRun.suite == suite)
        async with self._control.unit_of_work() as session:
            return [_run(row) for row in (await session.scalars(query)).all()]

    async def used_seeds(self, suite: str) -> set[tuple[str, int]]:
        """Case and seed of every world of *suite* that was ever played here."""
        query = select(TrialRun.case, TrialRun.seed).where(TrialRun.suite == suite).distinct()
        async with self._control.unit_of_work() as session:
            return {(row.case, row.seed) for row in (await session.execute(query)).all()}

    async def operations(
        self, run: RunRecord, trials: list[TrialRecord]
    ) -> dict[str, dict[str, Any]]:
        """What every trial under the fingerprints of this process has earned."""
        assert self._earning is not None, "what is earned is under a fingerprint"
        assert self._source is not None
        async with self._control.unit_of_work() as session:
            return await self._earning.standing(session, self._source)

    async def fingerprints(self, run_id: str) -> set[str]:
        """Fingerprints under which worlds of the run were signed."""
        played = select(TrialRun.id).where(TrialRun.run_id == run_id)
        query = select(Trial.fingerprint).where(Trial.trial.in_(played)).distinct()
        async with self._control.unit_of_work() as session:
            return set((await session.scalars(query)).all())

    async def next_to_play(self) -> RunRecord | None:
        """The run to take up: one whose worker died, else the longest asked for.

        Only for whoever holds the worker's lease.
        """
        query = (
            select(SuiteRun)
            .where(SuiteRun.state.in_(["running", "queued"]))
            .order_by((SuiteRun.state == "queued"), SuiteRun.created_at)
            .limit(1)
        )
        return await self._first(query)

    async def find(self, run_id: str) -> RunRecord | None:
        """The run with that id."""
        return await self._first(select(SuiteRun).where(SuiteRun.id == run_id))

    async def _first(self, query: Any) -> RunRecord | None:
        async with self._control.unit_of_work() as session:
            row = (await session.scalars(query)).first()
            return _run(row) if row is not None else None


def _row(trial: TrialRecord) -> TrialRun:
    dumped = trial.model_dump(mode="json", include={"grades", "played"})
    played = dumped["played"]
    return TrialRun(
        **trial.model_dump(exclude={"grades", "played"}),
        grades=dumped["grades"],
        trajectory=played["trajectory"],
        detected_s=played["detected_s"],
        recovered_s=played["recovered_s"],
        played={name: value for name, value in played.items() if name not in OWN_COLUMNS},
    )


def _trial(row: TrialRun) -> TrialRecord:
    own = {name: getattr(row, name) for name in OWN_COLUMNS}
    fields = {name: getattr(row, name) for name in TrialRecord.model_fields if name != "played"}
    return TrialRecord.model_validate({**fields, "played": Played(**row.played, **own)})


def _run(row: SuiteRun) -> RunRecord:
    return RunRecord.model_validate({n: getattr(row, n) for n in RunRecord.model_fields})
