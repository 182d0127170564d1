"""Two hands that sign evidence: neither writes over what the other recorded."""

import asyncio
from typing import Any

import pytest

from tests.fakes.gatekeeping import TURN
from tests.fakes.proof import Proof
from tools.autonomy import trials
from tools.autonomy.fingerprint import Fingerprint
from tools.autonomy.trials import TrialSigner, World, read_heads
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


async def test_a_unit_of_work_that_fails_moves_no_head(proof: Proof) -> None:
    await begin(proof, proof.signer, OTHER, 1)
    with pytest.raises(ZeroDivisionError):
        await begin(proof, proof.signer, OTHER, 2, broken=True)

    assert ends(proof) == {"f": 1}
    await begin(proof, proof.signer, OTHER, 3)
    assert ends(proof) == {"f": 2}
