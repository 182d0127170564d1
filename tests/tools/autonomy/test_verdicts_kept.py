"""A verdict on stored evidence: made beside other work, and kept as long as it holds."""

import asyncio
import threading
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.gatekeeping import TURN
from tests.fakes.proof import Proof
from tools.autonomy import evidence_source
from tools.autonomy.trials import World, verified


async def test_a_verdict_is_kept_while_a_trial_runs_and_until_it_can_no_longer(
    proof: Proof, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await proof.earn(16)
    under = proof.evidence.fingerprint(proof.operation, "person")
    late = World("run-late", "dials", "poplar", 99, injection=False)
    async with proof.signer.recording(clock.now()), proof.desk.database.unit_of_work() as session:
        await proof.signer.begun(session, TURN, under, late, clock.now())
    asked = []
    monkeypatch.setattr(
        evidence_source, "verified", lambda *given: asked.append(given) or verified(*given)
    )

    for minutes, verifications in ((0, 1), (0, 1), (14, 1), (1, 2), (60, 2)):
        clock.advance(minutes=minutes)
        await proof.facts()
        assert len(asked) == verifications


async def test_others_are_served_while_lines_are_verified(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    await proof.earn()
    loop, served = asyncio.get_running_loop(), threading.Event()

    def verified_once_somebody_was_served(*given: Any) -> Any:
        loop.call_soon_threadsafe(served.set)
        assert served.wait(30)
        return verified(*given)

    monkeypatch.setattr(
        "tools.autonomy.evidence_source.verified", verified_once_somebody_was_served
    )

    assert (await proof.facts()).problem == ""
