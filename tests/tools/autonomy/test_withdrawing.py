"""Taking back what was asked or permitted; what was begun goes on."""

from tests.fakes.gatekeeping import Desk, by_request
from tools.autonomy import service

LEFT = "The conversation went on."


async def withdraw(desk: Desk, approval_id: str | None) -> str:
    async with desk.database.unit_of_work() as session:
        return await service.withdraw_question(
            session, approval_id or "", reason=LEFT, clock=desk.clock
        )


async def take_back(desk: Desk, *action_ids: str) -> int:
    async with desk.database.unit_of_work() as session:
        return await service.withdraw_permits(
            session, action_ids, reason="The right is gone.", clock=desk.clock
        )


async def test_an_open_question_is_withdrawn_with_its_actions_and_its_reason(desk: Desk) -> None:
    proposed = await desk.propose(by_request("a"), by_request("b"))
    ids = [action.id for action in proposed.actions]

    assert await withdraw(desk, proposed.approval_id) == "withdrawn"

    assert await desk.states(ids) == ["withdrawn", "withdrawn"]
    assert (await desk.action(ids[0])).note == LEFT
    assert "approval.withdrawn" in await desk.audit_kinds(proposed.approval_id)
    assert (await desk.propose(by_request("a"))).outcome == "ask"


async def test_a_decided_question_keeps_its_decision(desk: Desk) -> None:
    proposed = await desk.propose()
    await desk.decide(proposed.approval_id)

    assert await withdraw(desk, proposed.approval_id) == "approved"
    assert await desk.states([proposed.actions[0].id]) == ["permitted"]
    assert await withdraw(desk, "apr-none") == "withdrawn"


async def test_unused_permits_are_taken_back_and_nothing_can_begin(desk: Desk) -> None:
    ids = await desk.permitted(by_request("a"), by_request("b"))

    assert await take_back(desk, *ids) == 2

    assert await desk.states(ids) == ["withdrawn", "withdrawn"]
    assert await desk.gatekeeper.ready("agents") == []
    assert (await desk.gatekeeper.drive(ids[0])).state == "withdrawn"
    assert desk.world.applied.total() == 0
    assert await take_back(desk, *ids) == 0


async def test_a_permitted_undo_is_taken_back_and_the_action_stays_done(desk: Desk) -> None:
    (action_id,) = await desk.permitted(by_request("a"))
    await desk.gatekeeper.drive(action_id)
    async with desk.database.unit_of_work() as session:
        asked = await service.ask_undo(
            session, desk.staff, action_id, clock=desk.clock, config=desk.config
        )
    await desk.decide(asked.id)

    assert await take_back(desk, action_id) == 1

    assert await desk.gatekeeper.ready("agents") == []
    assert await desk.states([action_id]) == ["verified"]
    assert desk.world.undone.total() == 0
    assert "permit.withdrawn" in await desk.audit_kinds()
