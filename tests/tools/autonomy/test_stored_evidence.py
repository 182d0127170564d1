"""Evidence read back from the database: what is forged, lost or foreign proves nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text, update
from structlog.testing import capture_logs

from memory.audit_heads import new_key_pair
from memory.database import Database
from memory.tables.trials import Trial, Withdrawal
from tests.fakes.clock import FakeClock
from tests.fakes.gatekeeping import TURN, by_request
from tests.fakes.proof import SUITE, Proof, SmallFleet
from tools.autonomy import evidence_source
from tools.autonomy.current import current_fingerprints
from tools.autonomy.evidence_source import NoEvidence, StoredEvidence
from tools.autonomy.fingerprint import DecidedBy, Decider
from tools.autonomy.gate import EvidenceFacts
from tools.autonomy.heads import GENESIS, Heads, Untrustworthy, write_heads
from tools.autonomy.trials import TrialSigner, World, verified
from tools.kit.errors import Unavailable


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


UNSEEN_BY_TRIGGERS = "SET LOCAL session_replication_role = replica"
WRITTEN = {
    "a line written as it was": ["UPDATE trial SET passed = passed WHERE seq = 4"],
    "a verdict turned and turned back": [
        "UPDATE trial SET passed = NOT passed WHERE seq = 4",
        "UPDATE trial SET passed = NOT passed WHERE seq = 4",
    ],
    "two lines written in one transaction": ["UPDATE trial SET suite = suite WHERE seq IN (4, 5)"],
    "a line copied over itself": [
        "CREATE TEMPORARY TABLE aside ON COMMIT DROP AS SELECT * FROM trial WHERE seq = 4",
        "DELETE FROM trial WHERE seq = 4",
        "INSERT INTO trial SELECT * FROM aside",
    ],
    "every line rewritten with its table": [
        "ALTER TABLE trial ALTER COLUMN passed TYPE boolean USING passed"
    ],
}


@pytest.mark.parametrize("how", WRITTEN)
async def test_any_write_to_a_line_makes_every_line_be_verified_anew(
    proof: Proof, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    times = []

    def counted(*given: Any) -> Any:
        times.append(1)
        return verified(*given)

    monkeypatch.setattr(evidence_source, "verified", counted)
    await proof.earn(5)
    await proof.facts()
    await proof.facts()
    unchanged = len(times)
    async with proof.desk.database.unit_of_work() as session:
        await session.execute(text(UNSEEN_BY_TRIGGERS))
        for statement in WRITTEN[how]:
            await session.execute(text(statement))
    after = await proof.facts()

    assert unchanged == 1
    assert len(times) == 2
    assert after.problem == ""


async def test_a_column_replaced_by_one_of_another_content_is_noticed(proof: Proof) -> None:
    await proof.earn(17, passed=False)
    before = await proof.facts()
    async with proof.desk.database.unit_of_work() as session:
        await session.execute(text("ALTER TABLE trial DROP COLUMN passed"))
        await session.execute(
            text("ALTER TABLE trial ADD COLUMN passed boolean NOT NULL DEFAULT true")
        )

    assert before.problem == ""
    assert "was altered" in (await proof.facts()).problem


async def test_lines_signed_by_another_key_are_foreign(proof: Proof, tmp_path: Path) -> None:
    proof.signer = TrialSigner(new_key_pair()[0], tmp_path / "elsewhere.json")
    await proof.earn()
    ours = TrialSigner(proof.private, proof.files.heads)
    async with ours.recording(proof.desk.clock.now()):
        ours._ends = proof.signer._ends

    assert "not signed by us" in (await proof.facts()).problem


async def test_heads_signed_by_another_key_are_foreign(proof: Proof) -> None:
    await proof.earn()
    proof.files.heads.unlink()
    foreign = TrialSigner(new_key_pair()[0], proof.files.heads)
    async with foreign.recording(proof.desk.clock.now()):
        pass

    assert "another key signed the heads" in (await proof.facts()).problem


async def test_lines_whose_heads_are_missing_prove_nothing(proof: Proof) -> None:
    await proof.earn()
    proof.files.heads.unlink()

    assert "signed heads of its trials are missing" in (await proof.facts()).problem
    assert (await proof.outcome())[0] == "ask"


async def test_lines_of_a_chain_that_the_heads_do_not_know_prove_nothing(proof: Proof) -> None:
    await proof.earn()
    proof.files.heads.unlink()
    async with proof.signer.recording(proof.desk.clock.now()):
        pass

    assert "signed heads of its trials are missing" in (await proof.facts()).problem


@pytest.mark.parametrize("heads", ["kept", "gone"])
async def test_nothing_is_signed_behind_lines_that_were_taken_off(proof: Proof, heads: str) -> None:
    await proof.earn()
    await proof.earn(1, first=17, passed=False, harmful=True)
    async with proof.desk.database.unit_of_work() as session:
        await session.execute(delete(Trial).where(Trial.seq > 34))
    if heads == "gone":
        proof.files.heads.unlink()
    with pytest.raises(Untrustworthy, match="Only another fingerprint begins anew"):
        await proof.earn(1, first=40)

    assert (await proof.outcome())[0] == "ask"


async def test_a_worker_killed_before_it_kept_the_first_head_loses_nothing(proof: Proof) -> None:
    await proof.earn()
    under = proof.evidence.fingerprint(proof.operation, "person").digest
    write_heads(
        proof.files.heads,
        proof.signer._key,
        Heads({f"{TURN} {under}": (0, GENESIS)}),
        proof.desk.clock.now(),
    )
    killed = await proof.facts()
    await proof.earn(1, first=17)

    assert killed.problem == ""
    assert (await proof.facts()).problem == ""
    assert (await proof.outcome())[0] == "run"


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


async def test_what_evidence_would_be_about_is_told_without_the_store_where_it_can_be(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Database, "look", lambda *_: asked.append("look"))
    monkeypatch.setattr(Database, "unit_of_work", lambda *_: asked.append("unit of work"))
    with pytest.raises(Unavailable, match="No model decides"):
        proof.evidence.fingerprint(proof.operation, "model")
    who: tuple[DecidedBy, ...] = ("person", "engine")

    assert await current_fingerprints(proof.evidence, proof.operation) == {
        proof.evidence.fingerprint(proof.operation, one).digest for one in who
    }
    assert await current_fingerprints(NoEvidence(), proof.operation) == frozenset()
    assert not asked


async def test_a_store_of_another_shape_did_not_answer(proof: Proof) -> None:
    await proof.earn()
    async with proof.desk.database.unit_of_work() as session:
        await session.execute(text("ALTER TABLE trial RENAME TO elsewhere"))

    assert (await proof.facts()).problem == "the store did not answer (ProgrammingError)"
    assert (await proof.outcome())[0] == "ask"


async def test_a_fault_of_our_own_is_not_laid_to_the_store_and_asks(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("poplar")

    await proof.earn()
    monkeypatch.setattr(evidence_source, "weigh", broken)
    with capture_logs() as logged:
        facts = await proof.facts()
    outcome, reason = await proof.outcome()

    said = "it couldn't be judged because of an internal error (KeyError)"
    assert facts.problem == said
    assert facts.fingerprint
    assert (outcome, said in reason) == ("ask", True)
    (line,) = logged
    assert (line["event"], line["log_level"]) == ("evidence.judging_failed", "error")
    assert line["exc_info"]


@pytest.mark.parametrize(
    ("error", "said", "events"),
    [
        (Unavailable("fleet.toml can't be read."), "fleet.toml can't be read.", []),
        (
            ZeroDivisionError(),
            "an internal error (ZeroDivisionError)",
            ["evidence.fingerprint_failed"],
        ),
    ],
)
async def test_without_a_fingerprint_nothing_is_known(
    proof: Proof, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str, events: list[str]
) -> None:
    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(proof.evidence, "fingerprint", broken)
    with capture_logs() as logged:
        facts = await proof.facts()
    assert await current_fingerprints(proof.evidence, proof.operation) == frozenset()

    assert facts == EvidenceFacts(problem=f"what it would be about can't be told: {said}")
    assert [line["event"] for line in logged] == events
    assert (await proof.outcome())[0] == "ask"


async def test_a_withdrawal_without_a_reason_withdraws_all_the_same(proof: Proof) -> None:
    await proof.earn()
    under = proof.evidence.fingerprint(proof.operation, "person").digest
    async with proof.desk.database.unit_of_work() as session:
        session.add(
            Withdrawal(
                operation=TURN,
                fingerprint=under,
                action_id="act-1",
                reason="",
                incident_id=None,
                at=proof.desk.clock.now(),
            )
        )

    outcome, reason = await proof.outcome()

    assert outcome == "ask"
    assert "utonomy was withdrawn: nobody wrote down why" in reason


async def test_another_suite_library_or_settings_is_another_fingerprint(proof: Proof) -> None:
    here = proof.evidence.fingerprint(proof.operation, "person")
    suite = proof.source(suites=(replace(SUITE, digest="e" * 64),))
    room = proof.operation.name.partition(".")[0]
    deciders = {room: Decider(("tools.kit.proposal",))}
    model = proof.source(model="other", deciders=deciders)

    assert suite.fingerprint(proof.operation, "person").differs_in(here.parts) == ["suite"]
    assert model.fingerprint(proof.operation, "person").digest == here.digest
    assert (
        model.fingerprint(proof.operation, "model").digest
        != proof.source(deciders=deciders).fingerprint(proof.operation, "model").digest
    )
    with pytest.raises(Unavailable, match="No model decides"):
        proof.evidence.fingerprint(proof.operation, "model")


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


async def test_the_same_target_again_asks_because_of_the_cool_down(proof: Proof) -> None:
    await proof.earn()
    first = await proof.desk.propose(by_request("a"))
    await proof.desk.gatekeeper.drive(first.actions[0].id)
    second = await proof.desk.propose(by_request("a", to=2))

    assert second.outcome == "ask"
    assert "cool-down" in second.reason
