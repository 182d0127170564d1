"""A gate that would let `healing.restart_replica` run: real store, signed trials, an open incident.

Each benchmark takes something away from it, or lays something false before it, and asks again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evals.worlds import incidents
from evals.worlds.postgres import CONTROL, TENANT_ID, ThrowawayPostgres
from evals.worlds.recording import RecordingFleet
from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.ids import new_id
from tools.autonomy.evidence_source import EvidenceFiles, StoredEvidence
from tools.autonomy.facts import gather
from tools.autonomy.fingerprint import DecidedBy, Decider, SuiteLock, Surroundings
from tools.autonomy.gate import EvidenceFacts, judge
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.schemas import Verdict
from tools.autonomy.trials import TrialSigner, World
from tools.autonomy.trials import Verdict as TrialVerdict
from tools.catalogue import build_operations
from tools.kit.clock import SystemClock
from tools.kit.deps import Caller, engine
from tools.kit.operation import Operation, OperationContext, Plan, Warrant

OPERATION = "healing.restart_replica"
TARGET = "catalog/catalog-1"
ARGUMENTS = {"service": "catalog", "replica": "catalog-1"}
CASES = ("poplar", "willow")
SUITE = SuiteLock(
    name="proving",
    digest="a" * 64,
    operations={OPERATION: dict.fromkeys(CASES, 1.0)},
    injection={OPERATION: ("willow",)},
)
ENOUGH = 17
"""Clean worlds that a low risk needs."""


@dataclass
class MovedClock:
    """The real time, moved by *ahead*."""

    ahead: timedelta = timedelta(0)
    real: SystemClock = field(default_factory=SystemClock)

    def now(self) -> datetime:
        """The moved moment."""
        return self.real.now() + self.ahead


class ProvenGate:
    """The gate and everything it judges by, on one database."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.clock = MovedClock()
        self.fleet = RecordingFleet(folder / "data")
        self.fleet.hung.add("catalog-1")
        self.operations = build_operations(archive_folder=folder / "archive")
        self.context = OperationContext(infrastructure=self.fleet, clock=self.clock)
        self.caller: Caller = engine("healer", tenant_id=TENANT_ID, tenant_slug="dynasty")
        self.private, public = new_key_pair()
        (folder / "evidence.pub").write_bytes(public)
        self.files = EvidenceFiles(folder / "heads.json", folder / "evidence.pub")
        self.signer = TrialSigner(self.private, self.files.heads)
        self.surroundings = Surroundings(
            adapter=type(self.fleet).__module__,
            suites=(SUITE,),
            deciders={"healing": Decider(("agents.gated_toolset", "tools.healing.toolset"))},
        )
        self.evidence = self.source()
        self.incident = ""

    @property
    def operation(self) -> Operation[Any]:
        """The operation that is judged."""
        return self.operations[OPERATION]

    def source(self, **changes: Any) -> StoredEvidence:
        """The evidence as a process with other surroundings reads it."""
        surroundings = replace(self.surroundings, **changes)
        return StoredEvidence(self.database, self.files, surroundings, self.fleet, self.clock)

    async def plan(self, operation: Operation[Any] | None = None, **arguments: str) -> Plan:
        """The plan of one restart."""
        chosen = operation or self.operation
        given = chosen.arguments.model_validate({**ARGUMENTS, **arguments})
        return await chosen.plan(self.context, given)

    async def earn(
        self,
        count: int = ENOUGH,
        *,
        first: int = 0,
        source: StoredEvidence | None = None,
        decided_by: DecidedBy = "engine",
        at: datetime | None = None,
        passed: bool = True,
        region: dict[str, Any] | None = None,
        operation: Operation[Any] | None = None,
    ) -> None:
        """Store *count* signed trials of distinct worlds."""
        about = operation or self.operation
        under = (source or self.evidence).fingerprint(about, decided_by)
        verdict = TrialVerdict(passed=passed, region=region or (await self.plan()).region)
        when = at or self.clock.now()
        async with self.signer.recording(when), self.database.unit_of_work() as session:
            for seed in range(first, first + count):
                case = CASES[seed % len(CASES)]
                world = World(f"{new_id('run')}", "proving", case, seed, case == CASES[1])
                await self.signer.begun(session, about.name, under, world, when)
                await self.signer.ended(session, about.name, under, world, verdict, when)

    async def open_incident(self, target: str = TARGET, *, kind: str = "hung") -> str:
        """An open incident about *target*: the cause that warrants the restart."""
        return await incidents.open_incident(self.database, target, at=self.clock.now(), kind=kind)

    def warrant(self, **changes: Any) -> Warrant:
        """The cause as the incident gives it."""
        lawful = Warrant(kind="incident", id=self.incident, operation=OPERATION, target=TARGET)
        return lawful.model_copy(update=changes)

    async def judged(
        self,
        *,
        operation: Operation[Any] | None = None,
        source: StoredEvidence | None = None,
        warrant: Warrant | None = None,
        plan: Plan | None = None,
        decided_by: DecidedBy = "engine",
        tainted: bool = False,
        together: int = 1,
        facts: EvidenceFacts | None = None,
    ) -> Verdict:
        """The gate's verdict, as a proposal gets it; nothing is stored."""
        chosen = operation or self.operation
        planned = plan or await self.plan(chosen)
        evidence = facts or await (source or self.evidence).about(
            chosen, planned.region, decided_by
        )
        async with self.database.unit_of_work() as session:
            return judge(
                await gather(
                    AutonomyRepository(session),
                    self.caller,
                    chosen,
                    planned,
                    warrant or self.warrant(),
                    proposed_together=together,
                    tainted=tainted,
                    evidence=evidence,
                    now=self.clock.now(),
                )
            )


@asynccontextmanager
async def proven_gate(
    store: ThrowawayPostgres, folder: Path, name: str
) -> AsyncIterator[ProvenGate]:
    """A gate on a clone of the control database, with its level earned and an incident open."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    url = await store.create(name, template=CONTROL)
    database = Database(url, pool_size=4)
    try:
        gate = ProvenGate(database, folder)
        await gate.earn()
        gate.incident = await gate.open_incident()
        yield gate
    finally:
        await database.dispose()


def outcomes(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How often each outcome was given."""
    return {
        name: sum(verdict.outcome == name for verdict in verdicts)
        for name in ("run", "ask", "refuse")
    }
