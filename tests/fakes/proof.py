"""Signed trials of turning a dial, and a desk whose gate reads them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from memory.audit_heads import new_key_pair
from tests.fakes.gatekeeping import TURN, Desk
from tools.autonomy.evidence_source import EvidenceFiles, StoredEvidence
from tools.autonomy.fingerprint import SuiteLock, Surroundings
from tools.autonomy.gate import EvidenceFacts
from tools.autonomy.trials import TrialSigner, Verdict, World
from tools.kit.infrastructure import Fleet

SUITE = SuiteLock(
    name="dials",
    digest="d" * 64,
    operations={TURN: {"poplar": 1.0, "willow": 1.0}},
    injection={TURN: ("willow",)},
)


class SmallFleet:
    """Only what a fingerprint asks of an infrastructure."""

    def fleet(self) -> Fleet:
        return Fleet(environment="dials", services=())


class Proof:
    """A desk whose gate reads stored evidence, and the hand that signs it."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk = desk
        private, public = new_key_pair()
        folder.mkdir(parents=True)
        (folder / "evidence.pub").write_bytes(public)
        self.private = private
        self.files = EvidenceFiles(folder / "heads.json", folder / "evidence.pub")
        self.signer = TrialSigner(private, self.files.heads)
        self.evidence = self.source()
        desk.gatekeeper._evidence = self.evidence

    @property
    def operation(self) -> Any:
        return self.desk.gatekeeper.driver.operations[TURN]

    def source(self, **changes: Any) -> StoredEvidence:
        surroundings = Surroundings(adapter="tests.fakes.turning", suites=(SUITE,))
        surroundings = replace(surroundings, adapter="tools.kit.infrastructure", **changes)
        fleet: Any = SmallFleet()
        return StoredEvidence(self.desk.database, self.files, surroundings, fleet, self.desk.clock)

    async def earn(self, count: int = 17, *, first: int = 0, **verdict: Any) -> None:
        """Trials that began and ended, one world each."""
        under = self.evidence.fingerprint(self.operation, "person")
        region = (await self.operation.plan(None, self.arguments())).region
        values = {"passed": True, "region": region} | verdict
        for seed in range(first, first + count):
            case = "willow" if seed % 2 else "poplar"
            world = World(f"run-{seed}", "dials", case, seed, injection=case == "willow")
            at = self.desk.clock.now()
            async with self.signer.recording(at), self.desk.database.unit_of_work() as session:
                await self.signer.begun(session, TURN, under, world, at)
                await self.signer.ended(session, TURN, under, world, Verdict(**values), at)

    def arguments(self) -> Any:
        return self.operation.arguments.model_validate({"dial": "a", "to": 1})

    async def facts(self) -> EvidenceFacts:
        region = (await self.operation.plan(None, self.arguments())).region
        return await self.evidence.about(self.operation, region, "person")

    async def outcome(self) -> tuple[str, str]:
        proposed = await self.desk.propose()
        return proposed.outcome, proposed.reason
