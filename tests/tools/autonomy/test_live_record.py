"""One failed check in production takes autonomy from the operation, whoever had decided."""

from pathlib import Path

import pytest
from sqlalchemy import select, text

from memory.database import Database
from memory.tables.healing import Incident
from memory.tables.trials import Withdrawal
from tests.fakes.clock import FakeClock
from tests.fakes.gatekeeping import TURN, Desk, by_request
from tests.fakes.outpost import RESTART, Outpost
from tests.fakes.proof import Proof
from tools.autonomy.fingerprint import DecidedBy
from tools.autonomy.live_record import KIND, close_superseded
from tools.kit.deps import Caller


async def under(database: Database, operation: str) -> set[str]:
    """Fingerprints under which *operation* lost its autonomy."""
    async with database.unit_of_work() as session:
        found = select(Withdrawal.fingerprint).where(Withdrawal.operation == operation)
        return set(await session.scalars(found))


async def incidents(database: Database, *, still_open: bool = True) -> list[str]:
    """Ids of incidents that tell of a withdrawal."""
    query = select(Incident.id).where(Incident.kind == KIND)
    if still_open:
        query = query.where(Incident.closed_at.is_(None))
    async with database.unit_of_work() as session:
        return list(await session.scalars(query))


@pytest.mark.parametrize("decided_by", ["person", "engine"])
async def test_a_failed_check_counts_against_whoever_decides_next(
    desk: Desk, proof: Proof, decided_by: DecidedBy
) -> None:
    (action,) = await desk.permitted(decided_by=decided_by)
    desk.world.helps = False
    await desk.gatekeeper.drive(action)

    who: tuple[DecidedBy, ...] = ("person", "engine")
    for one in who:
        facts = await proof.evidence.about(proof.operation, {}, one)
        said = "an engine" if decided_by == "engine" else "a person"
        assert facts.withdrawn.endswith(f"({action}, decided by {said})")
    assert len(await incidents(desk.database)) == 1
    assert (await desk.audit_kinds(TURN)).count("autonomy.withdrawn") == 1


async def test_an_action_without_a_fingerprint_withdraws_all_the_same(
    desk: Desk, proof: Proof
) -> None:
    (action,) = await desk.permitted()
    async with desk.database.unit_of_work() as session:
        await session.execute(text("UPDATE action SET fingerprint = NULL"))
    desk.world.helps = False
    await desk.gatekeeper.drive(action)

    assert proof.evidence.fingerprint(proof.operation, "engine").digest in await under(
        desk.database, TURN
    )


async def test_further_failures_add_nothing_and_the_incident_stays_until_the_operation_changes(
    desk: Desk, proof: Proof
) -> None:
    desk.world.helps = False
    for dial in ("a", "b"):
        (action,) = await desk.permitted(by_request(dial))
        await desk.gatekeeper.drive(action)
    assert len(await incidents(desk.database, still_open=False)) == 1

    now = proof.evidence.fingerprint(proof.operation, "engine").digest
    for fingerprint, closed in ((now, 0), ("0" * 64, 1)):
        async with desk.database.unit_of_work() as session:
            assert await close_superseded(session, {TURN: fingerprint}, desk.clock.now()) == closed


@pytest.mark.parametrize("told", [True, False])
async def test_what_failed_under_a_standing_approval_withdraws_when_it_is_replayed(
    control_db: Database, clock: FakeClock, tmp_path: Path, staff: Caller, *, told: bool
) -> None:
    outpost = Outpost(tmp_path / "home", control_db, clock, staff)
    await outpost.people()
    outpost.fingerprint = "f" * 64 if told else ""
    outpost.issue()
    outpost.infrastructure.heals = False
    outpost.infrastructure.freeze("catalog-1")
    assert await outpost.act() == "escalated"
    assert outpost.lines[0]["body"]["action"]["fingerprint"] == outpost.fingerprint

    async def current(_: str) -> frozenset[str]:
        return frozenset(["f" * 64, "a" * 64])

    await outpost.replay(current)
    assert await under(control_db, RESTART) == {"f" * 64, "a" * 64}
    assert len(await incidents(control_db)) == 1


async def test_what_changed_before_the_replay_loses_nothing(
    control_db: Database, clock: FakeClock, tmp_path: Path, staff: Caller
) -> None:
    outpost = Outpost(tmp_path / "home", control_db, clock, staff)
    await outpost.people()
    outpost.fingerprint = "f" * 64
    outpost.issue()
    outpost.infrastructure.heals = False
    outpost.infrastructure.freeze("catalog-1")
    await outpost.act()

    async def current(_: str) -> frozenset[str]:
        return frozenset(["c" * 64])

    await outpost.replay(current)
    assert await under(control_db, RESTART) == {"f" * 64}
