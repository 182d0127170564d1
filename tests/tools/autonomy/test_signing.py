"""Two hands that sign evidence: neither writes over what the other recorded."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from memory.tables.trials import Trial
from tests.fakes.clock import FakeClock
from tests.fakes.gatekeeping import TURN
from tests.fakes.proof import Proof
from tools.autonomy import trials
from tools.autonomy.fingerprint import Fingerprint
from tools.autonomy.heads import Untrustworthy, read_heads
from tools.autonomy.trials import TrialSigner, Verdict, World
from tools.kit.errors import Conflict

OTHER = Fingerprint("f" * 64, {})
ANOTHER = Fingerprint("e" * 64, {})


async def begin(
    proof: Proof, signer: TrialSigner, under: Fingerprint, seed: int, *, broken: bool = False
) -> None:
    """Record and commit that one world begins; with *broken* it fails before the commit."""
    at = proof.desk.clock.now()
    world = World(f"run-{under.digest[0]}-{seed}", "dials", "poplar", seed, injection=False)
    async with signer.recording(at), proof.desk.database.unit_of_work() as session:
        await signer.begun(session, TURN, under, world, at)
        if broken:
            raise ZeroDivisionError


def ends(proof: Proof) -> dict[str, int]:
    """Lines of each chain that its head knows, by the fingerprint's first letter."""
    known = read_heads(proof.files.heads, proof.files.key()).ends
    return {name.split()[1][0]: number for name, (number, _) in known.items()}


async def test_a_hand_that_was_overtaken_writes_no_old_ends(proof: Proof) -> None:
    stale = TrialSigner(proof.private, proof.files.heads)
    await begin(proof, stale, OTHER, 1)
    for seed in range(2, 5):
        await begin(proof, proof.signer, OTHER, seed)
    await begin(proof, stale, ANOTHER, 1)

    assert ends(proof) == {"f": 4, "e": 1}


async def test_two_hands_at_once_lose_no_line(proof: Proof) -> None:
    second = TrialSigner(proof.private, proof.files.heads)
    await asyncio.gather(
        *(begin(proof, proof.signer, OTHER, seed) for seed in range(1, 6)),
        *(begin(proof, second, ANOTHER, seed) for seed in range(1, 6)),
        *(begin(proof, second, OTHER, seed) for seed in range(6, 9)),
    )

    assert ends(proof) == {"f": 8, "e": 5}


async def test_a_hand_waits_for_another_and_gives_up_in_the_end(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "PATIENCE_SECONDS", 0.1)
    second: Any = TrialSigner(proof.private, proof.files.heads)
    async with proof.signer.recording(proof.desk.clock.now()):
        with pytest.raises(Conflict):
            await begin(proof, second, OTHER, 1)
    await begin(proof, second, OTHER, 1)

    assert ends(proof) == {"f": 1}


async def test_a_unit_of_work_that_fails_moves_no_head_and_its_line_comes_before_the_next(
    proof: Proof,
) -> None:
    await begin(proof, proof.signer, OTHER, 1)
    with pytest.raises(ZeroDivisionError):
        await begin(proof, proof.signer, OTHER, 2, broken=True)

    assert ends(proof) == {"f": 1}
    await begin(proof, proof.signer, OTHER, 3)
    assert ends(proof) == {"f": 3}


async def killed(
    proof: Proof, seed: int, verdict: Verdict | None, *, committed: bool, taken: bool = False
) -> None:
    """Record one line, begun or ended as *verdict* says, and die before its head is written."""
    at, under = proof.desk.clock.now(), proof.evidence.fingerprint(proof.operation, "person")
    world = World(f"run-{seed}", "dials", "poplar", seed, injection=False)
    before = await lines(proof)
    async with proof.signer.recording(at):
        async with proof.desk.database.unit_of_work() as session:
            if verdict is None:
                await proof.signer.begun(session, TURN, under, world, at)
            else:
                await proof.signer.ended(session, TURN, under, world, verdict, at)
        left = proof.files.heads.read_bytes()
    proof.files.heads.write_bytes(left)
    if taken or not committed:
        async with proof.desk.database.unit_of_work() as session:
            await session.execute(delete(Trial).where(Trial.seq > before))


async def lines(proof: Proof) -> int:
    async with proof.desk.database.unit_of_work() as session:
        return (await session.execute(select(func.count()).select_from(Trial))).scalar_one()


async def test_a_harmful_end_taken_off_before_its_head_was_written_does_its_harm(
    proof: Proof,
) -> None:
    await proof.earn()
    await killed(proof, 99, None, committed=True)
    await killed(proof, 99, Verdict(passed=False, harmful=True), committed=True, taken=True)
    found = (await proof.facts()).evidence

    assert found is not None
    assert found.reason == "1 of its trials did harm"
    await proof.earn(1, first=17)
    settled = (await proof.facts()).evidence
    assert settled is not None
    assert (settled.trials, settled.harmful) == (19, 1)


async def test_an_end_stored_before_its_head_was_written_counts_as_it_is(proof: Proof) -> None:
    await proof.earn(16)
    await killed(proof, 98, None, committed=True)
    await killed(proof, 98, Verdict(passed=True), committed=True)

    assert (await proof.outcome())[0] == "run"
    await proof.earn(1, first=17)
    found = (await proof.facts()).evidence
    assert found is not None
    assert (found.trials, found.passed) == (18, 18)


@pytest.mark.parametrize("settled", [False, True])
async def test_a_pass_that_was_announced_and_not_stored_is_none(
    proof: Proof, clock: FakeClock, *, settled: bool
) -> None:
    await proof.earn(16)
    await killed(proof, 98, None, committed=True)
    await killed(proof, 98, Verdict(passed=True), committed=False)
    at_first = (await proof.facts()).evidence
    if settled:
        await proof.earn(1, first=17)
    else:
        clock.advance(minutes=16)
    found = (await proof.facts()).evidence

    assert at_first is not None
    assert (at_first.trials, at_first.sufficient) == (16, False)
    assert found is not None
    assert (found.trials - settled, found.passed - settled) == (17, 16)
    assert not found.sufficient


async def test_a_beginning_taken_off_before_its_head_was_written_counts_as_failed(
    proof: Proof, clock: FakeClock
) -> None:
    await proof.earn(16)
    await killed(proof, 98, None, committed=True, taken=True)
    clock.advance(minutes=16)
    found = (await proof.facts()).evidence
    await proof.earn(1, first=17)
    settled = (await proof.facts()).evidence

    assert found is not None
    assert (found.trials, found.passed, found.sufficient) == (17, 16, False)
    assert settled is not None
    assert (settled.trials, settled.passed, settled.sufficient) == (18, 17, False)


async def test_another_line_in_the_place_of_the_announced_one_proves_nothing(
    proof: Proof,
) -> None:
    await proof.earn()
    heads = proof.files.heads.read_bytes()
    await killed(proof, 98, None, committed=True, taken=True)
    announced = proof.files.heads.read_bytes()
    proof.files.heads.write_bytes(heads)
    await killed(proof, 97, None, committed=True)
    proof.files.heads.write_bytes(announced)

    assert "is not the one announced" in (await proof.facts()).problem
    with pytest.raises(Untrustworthy, match="is not the one announced"):
        await proof.earn(1, first=30)
    assert (await proof.outcome())[0] == "ask"


async def test_several_lost_lines_are_settled_in_their_order(proof: Proof) -> None:
    under = proof.evidence.fingerprint(proof.operation, "person")
    at = proof.desk.clock.now()
    async with proof.signer.recording(at):
        async with proof.desk.database.unit_of_work() as session:
            for seed in (1, 2):
                world = World(f"lost-{seed}", "dials", "willow", seed, injection=True)
                await proof.signer.begun(session, TURN, under, world, at)
                await proof.signer.ended(session, TURN, under, world, Verdict(passed=True), at)
        left = proof.files.heads.read_bytes()
    proof.files.heads.write_bytes(left)
    async with proof.desk.database.unit_of_work() as session:
        await session.execute(delete(Trial))
    await proof.earn(1, first=8)
    found = await proof.facts()

    assert found.problem == ""
    assert await lines(proof) == 6
    assert found.evidence is not None
    assert (found.evidence.trials, found.evidence.passed) == (3, 1)
    assert read_heads(proof.files.heads, proof.files.key()).announced == {}
