"""What the gate reads: incidents that stand, freezes, and facts nobody can read."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from tests.fakes.gatekeeping import TURN, Desk, by_request
from tools.autonomy import freezes, proposals, service
from tools.autonomy.evidence_source import NoEvidence
from tools.autonomy.levels import list_operations
from tools.autonomy.schemas import OperationView, Verdict
from tools.kit.deps import Caller, engine
from tools.kit.errors import Conflict, Forbidden, Invalid, NotFound
from tools.kit.gatekeeper import Intention, Proposed
from tools.kit.operation import Warrant


async def heal(desk: Desk, incident_id: str, dial: str = "a") -> Proposed:
    """What the healer proposes for an incident."""
    healer = engine("healer", tenant_id=desk.staff.tenant_id, tenant_slug="dynasty")
    warrant = Warrant(kind="incident", id=incident_id, operation=TURN, target=f"dials/{dial}")
    intention = Intention(TURN, {"dial": dial}, warrant)
    return await desk.propose(
        intention, caller=healer, decided_by="engine", executor="healer", incident_id=incident_id
    )


@pytest.mark.parametrize("target", ["dials/a", "dials"])
async def test_an_open_incident_on_the_target_or_its_service_is_a_cause(
    desk: Desk, target: str
) -> None:
    proposed = await heal(desk, await desk.open_incident(target))

    assert proposed.outcome == "ask"
    assert "incident" not in proposed.reason


@pytest.mark.parametrize("target", ["dials/b", "dials/aa", "dial"])
async def test_an_incident_on_something_else_is_none(desk: Desk, target: str) -> None:
    proposed = await heal(desk, await desk.open_incident(target))

    assert proposed.outcome == "refuse"
    assert "is about another target" in proposed.reason


async def test_a_closed_or_invented_incident_is_none(desk: Desk) -> None:
    closed = await heal(desk, await desk.open_incident("dials/a", closed_at=desk.clock.now()))
    invented = await heal(desk, "inc-invented")

    assert (closed.outcome, invented.outcome) == ("refuse", "refuse")
    assert "is closed" in closed.reason
    assert "there is no incident inc-invented" in invented.reason


async def test_no_schedule_is_ever_due(desk: Desk) -> None:
    warrant = Warrant(kind="schedule", id="nightly", operation=TURN, target="dials/a")

    proposed = await desk.propose(Intention(TURN, {"dial": "a"}, warrant))

    assert proposed.outcome == "refuse"
    assert "there is no schedule nightly" in proposed.reason


async def test_a_tainted_run_is_told_apart(desk: Desk) -> None:
    tainted = await desk.propose(by_request("a"), tainted=True)
    clean = await desk.propose(by_request("b"))

    assert "outside text was read before it" in tainted.reason
    assert "outside text" not in clean.reason


async def levels(desk: Desk) -> list[OperationView]:
    async with desk.database.unit_of_work() as session:
        return await list_operations(
            session, desk.staff, desk.gatekeeper.driver.operations, NoEvidence()
        )


async def freeze(desk: Desk, operation: str, reason: str, caller: Caller | None = None) -> None:
    async with desk.database.unit_of_work() as session:
        await freezes.freeze(
            session,
            freezes.ordered(caller or desk.staff, operation, reason=reason, clock=desk.clock),
        )


async def test_a_person_freezes_and_thaws(desk: Desk) -> None:
    assert {(one.level, one.reason) for one in await levels(desk)} == {
        ("asks", "no evidence yet: earned in evaluation suites")
    }
    await freeze(desk, TURN, "launch week")
    frozen = await desk.propose(by_request("a"))
    with pytest.raises(Conflict, match="frozen already"):
        await freeze(desk, TURN, "twice")
    with pytest.raises(Invalid, match="Say why"):
        await freeze(desk, "*", "  ")
    healer = engine("healer", tenant_id=desk.staff.tenant_id, tenant_slug="dynasty")
    with pytest.raises(Forbidden):
        await freeze(desk, "*", "by itself", healer)

    assert frozen.outcome == "ask"
    assert "frozen: launch week" in frozen.reason
    assert [one.level for one in await levels(desk)] == ["asks", "frozen"]
    async with desk.database.unit_of_work() as session:
        await freezes.thaw(session, desk.staff, TURN, clock=desk.clock)
        with pytest.raises(NotFound):
            await freezes.thaw(session, desk.staff, TURN, clock=desk.clock)
    assert [one.level for one in await levels(desk)] == ["asks", "asks"]
    assert await desk.audit_kinds(TURN) == ["autonomy.frozen", "autonomy.thawed"]


async def test_a_change_freeze_is_over_every_operation(desk: Desk) -> None:
    await freeze(desk, "*", "exams")

    assert {one.level for one in await levels(desk)} == {"frozen"}
    assert "frozen: exams" in (await desk.propose()).reason


@pytest.mark.parametrize(
    ("table", "said"),
    [("freeze", "the budget couldn't be read"), ("incident", "stands couldn't be read")],
)
async def test_a_fact_that_cannot_be_read_asks(desk: Desk, table: str, said: str) -> None:
    incident_id = await desk.open_incident("dials/a")
    async with desk.database.unit_of_work() as session:
        await session.execute(text(f'ALTER TABLE "{table}" RENAME TO elsewhere'))

    proposed = await heal(desk, incident_id)

    assert proposed.outcome == "ask"
    assert said in proposed.reason


async def test_a_request_stands_though_incidents_cannot_be_read(desk: Desk) -> None:
    async with desk.database.unit_of_work() as session:
        await session.execute(text("ALTER TABLE incident RENAME TO elsewhere"))

    proposed = await desk.propose()

    assert proposed.outcome == "ask"
    assert "couldn't be read" not in proposed.reason
    assert [(await desk.action(one.id)).state for one in proposed.actions] == ["asked"]


async def test_what_did_not_help_uses_up_the_error_budget(desk: Desk) -> None:
    (failed,) = await desk.permitted(by_request("a"))
    desk.world.apply_raises = "before"
    await desk.gatekeeper.drive(failed)

    after = await desk.propose(by_request("b"))
    desk.clock.advance(days=1, seconds=1)
    later = await desk.propose(by_request("c"))

    assert "1 did not help within a day (error budget 1)" in after.reason
    assert "error budget" not in later.reason


async def test_reading_pages_through_actions_and_the_audit_log(desk: Desk) -> None:
    ids = []
    for dial in ("a", "b", "c"):
        ids.append((await desk.propose(by_request(dial))).actions[0].id)
        desk.clock.advance(seconds=1)
    operator = replace(desk.staff, tenant_id="ten-other", roles=frozenset({"operator"}))

    async with desk.database.unit_of_work() as session:
        first = await service.list_actions(session, desk.staff, limit=2)
        rest = await service.list_actions(session, desk.staff, limit=2, before=first[-1].id)
        on_b = await service.list_actions(session, desk.staff, target="dials/b")
        on_all = await service.list_actions(session, operator, target="dials")
        asked = await service.list_audit(session, desk.staff, kind_prefix="action.asked")
        newest = await service.list_audit(session, desk.staff, limit=3)
        older = await service.list_audit(session, desk.staff, before_seq=newest[-1].seq, limit=1)
        with pytest.raises(NotFound):
            await service.list_actions(session, desk.staff, before="act-unknown")

    assert [one.id for one in [*first, *rest]] == ids[::-1]
    assert [one.id for one in on_b] == [ids[1]]
    assert len(on_all) == 3
    assert [one.subject for one in asked] == ids[::-1]
    assert older[0].seq == newest[-1].seq - 1
    assert newest[0].body["reason"] == "No evidence yet: earned in evaluation suites."


async def test_what_the_gate_lets_run_gets_its_permit_and_a_later_freeze_stops_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No operation has evidence yet, so the verdict is given here."""
    verdict = Verdict(outcome="run", reason="All seven conditions hold.", conditions=[])
    monkeypatch.setattr(proposals, "judge", lambda facts: verdict)
    first = await desk.propose(by_request("a"))
    second = await desk.propose(by_request("b"))

    assert (first.outcome, first.approval_id, first.actions[0].state) == ("run", None, "permitted")
    assert (await desk.gatekeeper.drive(first.actions[0].id)).state == "verified"
    await freeze(desk, "*", "exams")
    with pytest.raises(Conflict, match="Frozen since: exams"):
        await desk.gatekeeper.drive(second.actions[0].id)
    assert set(desk.world.applied) == {first.actions[0].id}
