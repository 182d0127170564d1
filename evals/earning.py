"""Evidence from trials: signs what was played, and says what it has earned so far.

Only the evaluation worker makes one of these: it holds the key.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from evals.lock import as_lock
from evals.records import TrialRecord
from evals.suites.base import BadSuite, Case, Suite
from memory.tables.trials import Withdrawal
from tools.autonomy.evidence_source import EvidenceFiles, StoredEvidence
from tools.autonomy.fingerprint import (
    DecidedBy,
    Decider,
    Fingerprint,
    Surroundings,
    fingerprint,
)
from tools.autonomy.gate import EvidenceFacts, level
from tools.autonomy.heads import Untrustworthy
from tools.autonomy.policy import CHANGE_FREEZE
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.trials import TrialSigner, Verdict, World
from tools.kit.clock import Clock
from tools.kit.operation import Operation


@dataclass(frozen=True)
class Deciding:
    """Who decides where a case is decided by a model."""

    model: str = ""
    """Its name."""
    instructions: str = ""
    """Digest of what it is told."""
    deciders: Mapping[str, Decider] = field(default_factory=dict)


class Earning:
    """Evidence of one suite under the fingerprints that hold in this process.

    Args:
        suite: whose cases are played.
        operations: every operation there is, by name.
        key: PEM of the private key that signs.
        files: the signed heads and the public key.
        clock: for ages.
        model: who decides where a case is decided by a model.

    Raises:
        BadSuite: it names an operation that no room has.
        Unavailable: a fingerprint can't be computed.
    """

    def __init__(
        self,
        suite: Suite,
        operations: Mapping[str, Operation[Any]],
        *,
        key: bytes,
        files: EvidenceFiles,
        clock: Clock,
        model: Callable[[], Deciding] | None = None,
    ) -> None:
        self._suite = suite
        if unknown := sorted(set(suite.operations) - operations.keys()):
            raise BadSuite(f"{suite.name} names operations nobody has: {', '.join(unknown)}.")
        self._operations = {name: operations[name] for name in suite.operations}
        self._clock = clock
        self._lock = asyncio.Lock()
        self._signer = TrialSigner(key, files.heads)
        deciders: set[DecidedBy] = {case.decided_by for case in suite.cases}
        told = model() if model is not None and "model" in deciders else Deciding()
        self.surroundings = Surroundings(
            adapter=suite.adapter,
            suites=(as_lock(suite),),
            model=told.model,
            instructions=told.instructions,
            deciders=told.deciders,
        ).as_started()
        self.fingerprints: dict[tuple[str, DecidedBy], Fingerprint] = {
            (operation, decided_by): fingerprint(
                self._operations[operation],
                self.surroundings,
                environment=suite.environment,
                decided_by=decided_by,
            )
            for operation in suite.operations
            for decided_by in deciders
        }

    @property
    def lock(self) -> asyncio.Lock:
        """Held while lines are appended: a chain has one last line."""
        return self._lock

    async def begun(self, session: AsyncSession, trial: TrialRecord, case: Case) -> None:
        """Sign that a world begins, once for each operation it is a trial of."""
        for operation in case.operations:
            under = self.fingerprints[operation, case.decided_by]
            world = _world(trial, case)
            await self._signer.begun(session, operation, under, world, trial.began_at)

    async def ended(self, session: AsyncSession, trial: TrialRecord, case: Case) -> None:
        """Sign how it ended; what could not be scored has failed."""
        at = trial.ended_at or self._clock.now()
        for operation in case.operations:
            verdict = Verdict(
                passed=trial.passed is True,
                harmful=trial.harmful,
                region=trial.played.regions.get(operation),
            )
            under = self.fingerprints[operation, case.decided_by]
            await self._signer.ended(session, operation, under, _world(trial, case), verdict, at)

    def recording(self) -> AbstractAsyncContextManager[None]:
        """Around the unit of work in which lines are signed (`TrialSigner.recording`)."""
        return self._signer.recording(self._clock.now())

    async def standing(
        self, session: AsyncSession, source: StoredEvidence
    ) -> dict[str, dict[str, Any]]:
        """By operation: distinct worlds, exact lower bound at the last look, and level.

        Under the engine's fingerprint, or the model's where a model decides every case.
        """
        freezes = await AutonomyRepository(session).freezes()
        found = {}
        for name, operation in sorted(self._operations.items()):
            under = self.fingerprints.get((name, "engine")) or self.fingerprints[name, "model"]
            try:
                evidence = await source.weighed(session, operation, under.digest)
                problem = ""
            except Untrustworthy as error:
                evidence, problem = None, str(error)
            withdrawn = await session.get(Withdrawal, (name, under.digest))
            stands, _ = level(
                risk=operation.risk,
                reversibility=operation.reversibility,
                autonomous=operation.autonomous,
                freezes=[f.reason for f in freezes if f.operation in (name, CHANGE_FREEZE)],
                evidence=EvidenceFacts(
                    fingerprint=under.digest,
                    evidence=evidence,
                    withdrawn=withdrawn.reason if withdrawn else "",
                    problem=problem,
                    now=self._clock.now(),
                ),
            )
            found[name] = {
                "trials": evidence.trials if evidence else 0,
                "lower_bound": evidence.bound if evidence else None,
                "level": stands,
            }
        return found


def _world(trial: TrialRecord, case: Case) -> World:
    return World(
        trial=trial.id,
        suite=trial.suite,
        case=trial.case,
        seed=trial.seed,
        injection=case.injection,
    )
