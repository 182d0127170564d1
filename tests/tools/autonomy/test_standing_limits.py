"""What a budget and evidence allow still holds while the database is away."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from memory.database import Database
from memory.ids import new_id
from memory.tables.autonomy import Action, Permit
from memory.tables.trials import Withdrawal
from tests.fakes.clock import FakeClock
from tests.fakes.outpost import RESTART, TARGET, Outpost, restart
from tools.autonomy import policy, standing_renewal
from tools.autonomy.standing_renewal import Carried, Renewal
from tools.autonomy.standing_schemas import Basis, Covered
from tools.kit.deps import Caller
from tools.kit.operation import Operation


@pytest.fixture
async def outpost(control_db: Database, clock: FakeClock, tmp_path: Path, staff: Caller) -> Outpost:
    made = Outpost(tmp_path / "home", control_db, clock, staff)
    await made.people()
    return made


@pytest.fixture
def alone(clock: FakeClock, tmp_path: Path, staff: Caller) -> Outpost:
    """Permits were issued; there is no database any more."""
    return Outpost(tmp_path / "home", None, clock, staff)


async def test_the_cool_down_of_a_target_holds_without_the_database(outpost: Outpost) -> None:
    await outpost.permitted()
    assert await outpost.act() == "verified"
    await outpost.replay()
    await outpost.renew()
    outpost.clock.advance(minutes=5)
    assert "cool-down" in await outpost.act(), "known from the database"
    outpost.clock.advance(minutes=5)
    assert await outpost.act() == "verified"


async def test_the_cool_down_is_known_from_the_journal_too(alone: Outpost) -> None:
    alone.issue()
    [path] = alone.permits
    kept = path.read_bytes()
    assert await alone.act() == "verified"
    twin = json.loads(kept)
    fresh = alone.seal.open(twin) | {"id": "per-second"}
    known = alone.hands.folder.known()
    alone.hands.folder.write_known(known.model_copy(update={"permits": ["per-second"]}))
    (alone.path / "per-second.json").write_text(json.dumps(alone.seal.close(fresh)))
    assert "cool-down" in await alone.act()


async def test_actions_per_hour_hold_without_the_database(
    alone: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "ACTIONS_PER_HOUR", 2)
    alone.issue(TARGET, "catalog/catalog-2", "player/player-1")
    assert await alone.act(restart("catalog-1")) == "verified"
    assert await alone.act(restart("catalog-2")) == "verified"
    assert "in the last hour (limit 2)" in await alone.act(restart("player-1"))


async def test_an_action_that_did_not_help_ends_acting_alone_for_the_day(outpost: Outpost) -> None:
    await outpost.give("catalog/catalog-2")
    await outpost.permitted()
    outpost.infrastructure.heals = False
    outpost.infrastructure.freeze("catalog-1")
    assert await outpost.act() == "escalated"
    outpost.infrastructure.heals = True
    assert "did not help" in await outpost.act(restart("catalog-2"))
    await outpost.replay()
    await outpost.renew()
    assert "did not help" in await outpost.act(restart("catalog-2"))


async def add_action(outpost: Outpost, state: str, target: str = TARGET) -> None:
    async with outpost.database.unit_of_work() as session:
        at = outpost.clock.now()
        session.add(
            Action(
                id=new_id("act"),
                operation=RESTART,
                target=target,
                arguments={},
                digest="",
                plan={},
                state=state,
                risk="low",
                reversibility="nothing_to_undo",
                reason="",
                conditions=[],
                warrant={},
                decided_by="engine",
                executor="agents",
                tainted=False,
                tenant_id=outpost.staff.tenant_id,
                position=0,
                note="",
                created_at=at,
                updated_at=at,
            )
        )


async def test_a_target_with_an_open_action_is_left_to_it(outpost: Outpost) -> None:
    await outpost.give()
    await add_action(outpost, "asked")
    await outpost.renew()
    assert "another action holds catalog/catalog-1: it was asked" in await outpost.act()


async def test_an_action_at_work_when_the_database_left_may_still_be(outpost: Outpost) -> None:
    await outpost.give()
    await add_action(outpost, "intended", "player/player-1")
    await outpost.renew()
    assert "another action is at work" in await outpost.act()


class Earned:
    """The gate would let restarts of silent replicas run."""

    async def would_run(self, operation: Operation[Any]) -> Carried | None:
        if operation.name != RESTART:
            return None
        labels = {
            "kind": "replica",
            "adapter": "local",
            "service_kind": "fleet",
            "fault": "silent",
        }
        return Carried(
            tenant_id="ten-test",
            covered=[Covered(labels=labels, figures={"replicas": (1, 4)})],
            fingerprint="f" * 64,
            basis=Basis(kind="evidence", id="f" * 64, granted_by="gate", text="earned"),
        )


async def test_evidence_carries_a_permit_inside_what_was_tried_and_under_its_fingerprint(
    outpost: Outpost,
) -> None:
    outpost.earned = Earned()
    await outpost.renew()
    assert len(outpost.permits) == 5, "one for each replica that may be restarted"
    outpost.infrastructure.freeze("catalog-1")
    assert "something else than what runs now" in await outpost.act()
    outpost.fingerprint = "e" * 64
    assert "something else than what runs now" in await outpost.act()
    outpost.fingerprint = "f" * 64
    assert "outside what was permitted" in await outpost.act(restart("catalog-2")), "it answers"
    assert await outpost.act() == "verified"
    await outpost.replay()
    [permit] = await outpost.used()
    assert isinstance(permit, Permit)
    assert permit.granted_by == "gate"


async def test_a_persons_approval_goes_before_evidence(outpost: Outpost) -> None:
    outpost.earned = Earned()
    await outpost.permitted()
    bases = {
        json.loads(p.read_text())["target"]: json.loads(p.read_text())["basis"]["kind"]
        for p in outpost.permits
    }
    assert bases.pop(TARGET) == "approval"
    assert set(bases.values()) == {"evidence"}


async def test_autonomy_taken_back_in_production_takes_its_permits_at_once(
    outpost: Outpost,
) -> None:
    outpost.earned = Earned()
    renewal = Renewal(
        outpost.database,
        outpost.hands.folder,
        outpost.operations,
        outpost.context,
        outpost.earned,
    )
    await renewal.renew()
    assert outpost.permits
    async with outpost.database.unit_of_work() as session:
        session.add(
            Withdrawal(
                operation=RESTART,
                fingerprint="f" * 64,
                action_id="act-1",
                reason="it did not help",
                incident_id=None,
                at=outpost.clock.now(),
            )
        )
    await renewal.renew()
    assert outpost.permits == []


class Hanging:
    """Evidence that is never weighed to the end."""

    async def would_run(self, operation: Operation[Any]) -> Carried | None:
        await asyncio.Event().wait()
        return None


async def test_what_a_person_approved_does_not_wait_for_evidence(
    outpost: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_renewal, "EARNED_SECONDS", 0.01)
    outpost.earned = Hanging()
    await outpost.permitted()
    assert len(outpost.permits) == 1
    assert await outpost.act() == "verified"
