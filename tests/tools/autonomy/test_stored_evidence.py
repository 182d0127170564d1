"""Evidence read back from the database: what is forged, lost or foreign proves nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.tables.trials import Trial
from tests.fakes.clock import FakeClock
from tests.fakes.gatekeeping import TURN, Desk, by_request
from tools.autonomy.evidence_source import EvidenceFiles, StoredEvidence
from tools.autonomy.fingerprint import SuiteLock, Surroundings
from tools.autonomy.gate import EvidenceFacts
from tools.autonomy.levels import get_operation, list_operations
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
            async with self.desk.database.unit_of_work() as session:
                at = self.desk.clock.now()
                await self.signer.begun(session, TURN, under, world, at)
                await self.signer.ended(session, TURN, under, world, Verdict(**values), at)
        self.signer.keep_heads(self.desk.clock.now())

    def arguments(self) -> Any:
        return self.operation.arguments.model_validate({"dial": "a", "to": 1})

    async def facts(self) -> EvidenceFacts:
        region = (await self.operation.plan(None, self.arguments())).region
        return await self.evidence.about(self.operation, region, "person")

    async def outcome(self) -> tuple[str, str]:
        proposed = await self.desk.propose()
        return proposed.outcome, proposed.reason


@pytest.fixture
def proof(desk: Desk, tmp_path: Path) -> Proof:
    return Proof(desk, tmp_path / "evidence")


async def test_seventeen_clean_worlds_let_it_run_alone_and_are_done(proof: Proof) -> None:
    await proof.earn()
    proposed = await proof.desk.propose()

    assert proposed.outcome == "run"
    assert proposed.approval_id is None
    settled = await proof.desk.gatekeeper.drive(proposed.actions[0].id)
    assert settled.state == "verified"
    row = await proof.desk.action(proposed.actions[0].id)
    assert row.fingerprint == proof.evidence.fingerprint(proof.operation, "person").digest


async def test_one_world_less_asks_and_says_how_many(proof: Proof) -> None:
    await proof.earn(16)

    assert await proof.outcome() == (
        "ask",
        "16 of 17 distinct worlds tried; it was never looked at.",
    )


async def test_an_abandoned_trial_counts_as_failed_once_it_can_no_longer_be_running(
    proof: Proof, clock: FakeClock
) -> None:
    under = proof.evidence.fingerprint(proof.operation, "person")
    async with proof.desk.database.unit_of_work() as session:
        lost = World("run-lost", "dials", "poplar", 99, injection=False)
        await proof.signer.begun(session, TURN, under, lost, clock.now())
    await proof.earn(16)
    running = await proof.facts()
    clock.advance(minutes=16)
    after = await proof.facts()

    assert running.evidence is not None
    assert running.evidence.trials == 16
    assert after.evidence is not None
    assert after.evidence.trials == 17
    assert not after.evidence.sufficient


TAMPERED = {
    "a verdict turned": update(Trial).where(Trial.seq == 4).values(passed=True, harmful=False),
    "a seed changed": update(Trial).where(Trial.seq == 4).values(seed=4711),
    "a region widened": update(Trial).where(Trial.seq == 4).values(region={"kind": "any"}),
    "a line taken out": delete(Trial).where(Trial.seq == 4),
    "the tail cut off": delete(Trial).where(Trial.seq > 30),
    "a signature gone": update(Trial).where(Trial.seq == 4).values(signature=""),
    "two lines swapped": text(
        "UPDATE trial SET seq = CASE seq WHEN 5 THEN 1005 ELSE seq END WHERE seq IN (5)"
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
async def test_evidence_that_was_touched_proves_nothing(proof: Proof, how: str) -> None:
    await proof.earn(3, passed=False)
    await proof.earn(20, first=3)
    before = await proof.facts()
    async with proof.desk.database.unit_of_work() as session:
        await session.execute(TAMPERED[how])
    after = await proof.facts()

    assert before.problem == ""
    assert "of its trials" in after.problem
    assert (await proof.outcome())[0] == "ask"


async def test_lines_signed_by_another_key_are_foreign(proof: Proof, tmp_path: Path) -> None:
    proof.signer = TrialSigner(new_key_pair()[0], tmp_path / "elsewhere.json")
    await proof.earn()

    assert "not signed by us" in (await proof.facts()).problem


async def test_heads_signed_by_another_key_are_foreign(proof: Proof) -> None:
    await proof.earn()
    proof.files.heads.unlink()
    foreign = TrialSigner(new_key_pair()[0], proof.files.heads)
    foreign.keep_heads(proof.desk.clock.now())

    assert "another key signed the heads" in (await proof.facts()).problem


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"ends": {}}', b'{"signature": "zz"}'])
async def test_heads_that_cannot_be_read_prove_nothing(proof: Proof, content: bytes) -> None:
    await proof.earn()
    proof.files.heads.write_bytes(content)

    assert "signed heads" in (await proof.facts()).problem
    assert (await proof.outcome())[0] == "ask"


async def test_a_trial_dated_ahead_of_the_clock_proves_nothing(
    proof: Proof, clock: FakeClock
) -> None:
    await proof.earn()
    clock.advance(hours=-1)

    assert "dated in the future" in (await proof.facts()).problem


async def test_with_the_store_away_nothing_is_known(proof: Proof, postgres: Any) -> None:
    nowhere = Database("postgresql+psycopg://nobody@127.0.0.1:1/none", pool_size=1)
    fleet: Any = SmallFleet()
    evidence = StoredEvidence(
        nowhere, proof.files, proof.evidence.surroundings, fleet, proof.desk.clock
    )
    facts = await evidence.about(proof.operation, {}, "engine")
    await nowhere.dispose()

    assert "the store did not answer" in facts.problem


async def test_another_suite_library_or_settings_is_another_fingerprint(proof: Proof) -> None:
    here = proof.evidence.fingerprint(proof.operation, "person")
    suite = proof.source(suites=(replace(SUITE, digest="e" * 64),))
    model = proof.source(model="other")

    assert suite.fingerprint(proof.operation, "person").differs_in(here.parts) == ["suite"]
    assert model.fingerprint(proof.operation, "person").digest == here.digest
    assert (
        model.fingerprint(proof.operation, "model").digest
        != proof.evidence.fingerprint(proof.operation, "model").digest
    )


async def test_a_failed_check_in_production_takes_it_back_and_opens_an_incident(
    proof: Proof,
) -> None:
    await proof.earn()
    proposed = await proof.desk.propose()
    proof.desk.world.helps = False
    settled = await proof.desk.gatekeeper.drive(proposed.actions[0].id)
    proof.desk.world.helps = True
    proof.desk.clock.advance(days=2)
    facts = await proof.facts()
    outcome, reason = await proof.outcome()

    assert settled.state in ("undone", "escalated")
    assert facts.withdrawn
    assert outcome == "ask"
    assert "utonomy was withdrawn" in reason
    assert "autonomy.withdrawn" in await proof.desk.audit_kinds(TURN)
    async with proof.desk.database.unit_of_work() as session:
        found = await session.execute(text("SELECT kind, state, target FROM incident"))
        assert [tuple(row) for row in found] == [("autonomy_withdrawn", "escalated", TURN)]


async def test_levels_say_where_each_operation_stands_and_what_would_change_it(
    proof: Proof,
) -> None:
    async def level() -> Any:
        async with proof.desk.database.unit_of_work() as session:
            operations = proof.desk.gatekeeper.driver.operations
            found = await list_operations(session, proof.desk.staff, operations, proof.evidence)
            return next(one for one in found if one.name == TURN)

    before = await level()
    await earn_as_engine(proof)
    after = await level()
    async with proof.desk.database.unit_of_work() as session:
        operations = proof.desk.gatekeeper.driver.operations
        detail = await get_operation(session, proof.desk.staff, operations, proof.evidence, TURN)

    assert (before.level, before.trials) == ("asks", 0)
    assert "Trials of the suite dials" in before.change or "17" in before.change
    assert (after.level, after.trials, after.next_look) == ("runs", 17, 34)
    assert [case.case for case in detail.cases] == ["poplar", "willow"]
    assert detail.regions
    assert detail.parts["suite"].startswith("dials")


async def earn_as_engine(proof: Proof) -> None:
    """The same trials for what engines decide."""
    person = proof.evidence.fingerprint

    def engine(operation: Any, decided_by: Any) -> Any:
        return person(operation, "engine")

    proof.evidence.fingerprint = engine  # type: ignore[method-assign]
    await proof.earn()
    proof.evidence.fingerprint = person  # type: ignore[method-assign]


async def test_the_same_target_again_asks_because_of_the_cool_down(proof: Proof) -> None:
    await proof.earn()
    first = await proof.desk.propose(by_request("a"))
    await proof.desk.gatekeeper.drive(first.actions[0].id)
    second = await proof.desk.propose(by_request("a", to=2))

    assert second.outcome == "ask"
    assert "cool-down" in second.reason
