"""Each of the gate's seven conditions, missing alone: the page says which, and nothing is done."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from evals.benchmarks.gate_parts.proven import ARGUMENTS, OPERATION, TARGET, MovedClock, ProvenGate
from memory.database import Database
from memory.tables.healing import Incident
from tests.fakes.clock import FakeClock
from tests.server.conftest import Browser
from tools.autonomy import freezes, policy
from tools.autonomy.gatekeeper import Gatekeeping
from tools.autonomy.policy import AutonomyConfig
from tools.kit.deps import Caller, engine
from tools.kit.gatekeeper import Intention, Proposed


class Proven:
    """A restart that would run alone, until a test takes one condition away."""

    def __init__(self, database: Database, folder: Path, clock: FakeClock, staff: Caller) -> None:
        folder.mkdir()
        self.gate = ProvenGate(database, folder)
        self.gate.clock.real = clock  # type: ignore[assignment]
        self.gate.caller = engine(
            "healer", tenant_id=staff.tenant_id, tenant_slug=staff.tenant_slug
        )
        self.staff = staff
        self.gatekeeper = Gatekeeping(
            database,
            self.gate.operations,
            self.gate.context,
            AutonomyConfig(locks=folder / "locks"),
            self.gate.evidence,
        )

    async def propose(self, **more: Any) -> Proposed:
        """The restart as the healer proposes it for the open incident."""
        return await self.gatekeeper.propose(
            self.gate.caller,
            [Intention(operation=OPERATION, arguments=ARGUMENTS, warrant=self.gate.warrant())],
            decided_by="engine",
            executor="healer",
            title="catalog-1 does not answer",
            incident_id=self.gate.incident,
            **more,
        )


@pytest.fixture
async def proven(control_db: Database, tmp_path: Path, clock: FakeClock, staff: Caller) -> Proven:
    made = Proven(control_db, tmp_path / "proven", clock, staff)
    made.gate.incident = await made.gate.open_incident()
    return made


async def not_allowed(proven: Proven, monkeypatch: pytest.MonkeyPatch) -> Proposed:
    await proven.gate.earn()
    monkeypatch.setattr(type(proven.gate.operation), "autonomous", False)
    return await proven.propose()


async def no_evidence(proven: Proven, _: pytest.MonkeyPatch) -> Proposed:
    return await proven.propose()


async def stale(proven: Proven, _: pytest.MonkeyPatch) -> Proposed:
    clock: MovedClock = proven.gate.clock
    clock.ahead = -policy.SHELF_LIFE - timedelta(days=1)
    await proven.gate.earn()
    clock.ahead = timedelta(0)
    return await proven.propose()


async def not_covered(proven: Proven, _: pytest.MonkeyPatch) -> Proposed:
    region = (await proven.gate.plan()).region
    await proven.gate.earn(region={**region, "kind": "another kind"})
    return await proven.propose()


async def frozen(proven: Proven, _: pytest.MonkeyPatch) -> Proposed:
    await proven.gate.earn()
    async with proven.gate.database.unit_of_work() as session:
        await freezes.freeze(
            session,
            freezes.ordered(proven.staff, OPERATION, reason="launch week", clock=proven.gate.clock),
        )
    return await proven.propose()


async def tainted(proven: Proven, _: pytest.MonkeyPatch) -> Proposed:
    await proven.gate.earn()
    return await proven.propose(tainted=True)


Take = Callable[[Proven, pytest.MonkeyPatch], Awaitable[Proposed]]


async def test_with_all_seven_it_runs_and_nobody_is_asked(proven: Proven, ada: Browser) -> None:
    await proven.gate.earn()

    proposed = await proven.propose()

    assert (proposed.outcome, proposed.approval_id) == ("run", None)
    page = (await ada.client.get("/approvals")).text
    assert "catalog-1 does not answer" not in page


@pytest.mark.parametrize(
    ("take", "said"),
    [
        (not_allowed, "never runs alone"),
        (no_evidence, "no evidence yet"),
        (stale, "31 days old (shelf life 30)"),
        (not_covered, "no passing trial acted on anything of this kind"),
        (frozen, "frozen: launch week"),
        (tainted, "may have chosen the arguments"),
    ],
)
async def test_the_page_of_the_question_says_which_condition_is_missing(
    proven: Proven, ada: Browser, monkeypatch: pytest.MonkeyPatch, take: Take, said: str
) -> None:
    proposed = await take(proven, monkeypatch)

    assert proposed.outcome == "ask"
    page = (await ada.client.get(f"/approvals/{proposed.approval_id}")).text
    why = page.split("Why you are asked:")[1].split("</p>")[0]
    assert said in why.lower()
    assert TARGET.split("/")[1] in page
    assert not proven.gate.fleet.restarts


async def test_an_incident_that_calls_for_something_else_is_no_cause_and_the_audit_page_says_so(
    proven: Proven, ada: Browser
) -> None:
    await proven.gate.earn()
    proven.gate.incident = await proven.gate.open_incident(kind="disk_filling")

    proposed = await proven.propose()

    assert (proposed.outcome, proposed.approval_id) == ("refuse", None)
    page = (await ada.client.get("/audit")).text
    assert "is of kind disk_filling" in page
    assert f"call for {OPERATION}" in page
    assert not proven.gate.fleet.restarts


async def test_without_a_cause_that_stands_it_is_refused_and_the_audit_page_says_why(
    proven: Proven, ada: Browser
) -> None:
    await proven.gate.earn()
    async with proven.gate.database.unit_of_work() as session:
        incident = await session.get(Incident, proven.gate.incident)
        assert incident is not None
        incident.closed_at, incident.state = proven.gate.clock.now(), "closed"

    proposed = await proven.propose()

    assert (proposed.outcome, proposed.approval_id) == ("refuse", None)
    page = (await ada.client.get("/audit")).text
    assert f"incident {proven.gate.incident} is closed" in page
    assert not proven.gate.fleet.restarts
