"""Answers to questions: one counts, from a person of the tenant who saw what would be done."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from memory.database import Database
from tests.fakes.gatekeeping import PRESS, Desk, by_request, outcome_of
from tools.autonomy import service
from tools.autonomy.schemas import ActionView, ApprovalView
from tools.kit.deps import engine
from tools.kit.errors import CapabilityError, Conflict, Forbidden, NotFound


async def permits(database: Database) -> int:
    async with database.unit_of_work() as session:
        return (await session.execute(text("SELECT count(*) FROM permit"))).scalar_one()


async def approval(desk: Desk, approval_id: str | None) -> ApprovalView:
    async with desk.database.unit_of_work() as session:
        return await service.get_approval(session, desk.staff, approval_id or "")


async def action_view(desk: Desk, action_id: str) -> ActionView:
    async with desk.database.unit_of_work() as session:
        return await service.get_action(session, desk.staff, action_id)


async def test_a_question_shows_plan_reason_and_digests(desk: Desk) -> None:
    proposed = await desk.propose(by_request("a"), by_request("b"))

    shown = await approval(desk, proposed.approval_id)

    assert shown.state == "pending"
    assert shown.digest == proposed.digest
    assert [a.plan.diff for a in shown.actions] == [["- 0", "+ 1"], ["- 0", "+ 1"]]
    assert [a.digest for a in shown.actions] == [a.digest for a in proposed.actions]
    assert "blast radius" in shown.reason
    names = ["allowed", "evidence", "fresh", "covered", "budget", "clean", "warranted"]
    assert [c.name for c in shown.actions[0].conditions] == names


async def test_an_approval_resolves_the_name_of_who_gave_it(desk: Desk) -> None:
    proposed = await desk.propose()

    answered = await desk.decide(proposed.approval_id)

    assert (answered.state, answered.decided_by) == ("approved", "Ada")
    assert answered.actions[0].approved_by == "Ada"
    assert answered.actions[0].state == "permitted"


async def test_a_denied_action_is_never_done(desk: Desk) -> None:
    proposed = await desk.propose(by_request("a"), by_request("b"))

    answered = await desk.decide(proposed.approval_id, "deny")

    assert answered.state == "denied"
    assert [a.state for a in answered.actions] == ["denied", "denied"]
    assert answered.actions[0].note == "Ada said no."
    assert await permits(desk.database) == 0
    assert (await desk.gatekeeper.drive(proposed.actions[0].id)).state == "denied"
    assert desk.world.applied.total() == 0
    assert (await desk.propose()).outcome == "ask"


async def test_only_the_first_answer_counts(desk: Desk) -> None:
    proposed = await desk.propose()
    await desk.decide(proposed.approval_id)

    for decision in ("approve", "deny"):
        with pytest.raises(Conflict, match="was approved already"):
            await desk.decide(proposed.approval_id, decision)  # type: ignore[arg-type]

    assert await permits(desk.database) == 1


async def test_twenty_answers_at_once_give_one_permit(desk: Desk) -> None:
    proposed = await desk.propose()

    answers = await asyncio.gather(
        *(outcome_of(desk.decide(proposed.approval_id, digest=proposed.digest)) for _ in range(20))
    )

    approved = [a for a in answers if isinstance(a, ApprovalView)]
    refused = [a for a in answers if isinstance(a, Conflict)]
    assert (len(approved), len(refused)) == (1, 19)
    assert await permits(desk.database) == 1
    assert (await desk.audit_kinds()).count("approval.approved") == 1


async def test_approve_and_deny_at_once_leave_one_of_them(desk: Desk) -> None:
    proposed = await desk.propose()

    await asyncio.gather(
        *(
            outcome_of(desk.decide(proposed.approval_id, decision, digest=proposed.digest))
            for decision in ("approve", "deny") * 5
        )
    )

    state, (action,) = await desk.gatekeeper.standing(proposed.approval_id or "")
    assert (state, action.state) in {("approved", "permitted"), ("denied", "denied")}
    assert await permits(desk.database) == (1 if state == "approved" else 0)


async def test_twenty_drivers_at_once_do_it_once(desk: Desk) -> None:
    (action_id,) = await desk.permitted()
    others = [desk.another() for _ in range(20)]

    await asyncio.gather(*(outcome_of(other.drive(action_id)) for other in others))

    assert desk.world.applied == {action_id: 1}
    assert await desk.states([action_id]) == ["verified"]


async def test_twenty_consumers_of_one_permit_get_it_once(desk: Desk) -> None:
    (action_id,) = await desk.permitted()

    begun = await asyncio.gather(
        *(outcome_of(desk.gatekeeper.begin(action_id, "apply", f"any:{n}")) for n in range(20))
    )

    assert sum(not isinstance(b, Exception) for b in begun) == 1
    assert all(isinstance(b, Conflict) for b in begun if isinstance(b, Exception))
    assert (await desk.audit_kinds(action_id)).count("action.intended") == 1


async def test_twenty_proposals_for_one_target_open_one_action(desk: Desk) -> None:
    proposals = await asyncio.gather(*(outcome_of(desk.propose()) for _ in range(20)))

    assert sum(not isinstance(p, Exception) for p in proposals) == 1
    assert all(
        "already waits for approval (asked 0 seconds ago)" in p.message
        for p in proposals
        if isinstance(p, Exception)
    )


async def test_an_answer_to_something_else_than_was_shown_counts_for_nothing(desk: Desk) -> None:
    proposed = await desk.propose()

    with pytest.raises(Conflict, match="not what would be done"):
        await desk.decide(proposed.approval_id, digest="0" * 64)

    assert (await approval(desk, proposed.approval_id)).state == "pending"
    assert await permits(desk.database) == 0


@pytest.mark.parametrize(
    "change",
    [
        "arguments = jsonb_set(arguments, '{to}', '9')",
        "target = target || '-moved'",
        "operation = 'testing.press_button'",
        "plan = jsonb_set(plan, '{state,value}', '5')",
        "tenant_id = 'ten-other'",
        "digest = repeat('0', 64)",
    ],
)
async def test_a_changed_row_is_neither_approved_nor_run(desk: Desk, change: str) -> None:
    asked = await desk.propose(by_request("c"))
    first, second = await desk.permitted(by_request("a"), by_request("b"))
    async with desk.database.unit_of_work() as session:
        await session.execute(text(f"UPDATE action SET {change} WHERE target <> 'dials/b'"))

    with pytest.raises(Conflict, match="changed after"):
        await desk.decide(asked.approval_id)
    # The world is moved along so that only the digest can stop it.
    desk.world.dials["a"] = (await desk.action(first)).plan["state"]["value"]
    with pytest.raises(Conflict, match="was changed after it was allowed"):
        await desk.gatekeeper.drive(first)

    assert desk.world.applied.total() == 0
    assert await desk.audit_kinds(first) == [
        "action.planned",
        "action.asked",
        "action.permitted",
        "permit.refused",
        "action.withdrawn",
    ]
    assert await desk.states([first, second]) == ["withdrawn", "withdrawn"]


async def test_another_tenant_reads_and_answers_nothing(desk: Desk) -> None:
    proposed = await desk.propose()
    stranger = replace(desk.staff, tenant_id="ten-other", tenant_slug="other")

    with pytest.raises(NotFound):
        await desk.decide(proposed.approval_id, digest=proposed.digest, caller=stranger)
    async with desk.database.unit_of_work() as session:
        assert await service.list_approvals(session, stranger) == []
        assert await service.list_actions(session, stranger) == []
        with pytest.raises(NotFound):
            await service.get_approval(session, stranger, proposed.approval_id or "")
        with pytest.raises(NotFound):
            await service.get_action(session, stranger, proposed.actions[0].id)


async def test_engines_and_people_without_the_fleet_answer_nothing(desk: Desk) -> None:
    proposed = await desk.propose()
    healer = engine("healer", tenant_id=desk.staff.tenant_id, tenant_slug="dynasty")
    learner = replace(desk.staff, roles=frozenset({"learner"}))
    posing = replace(desk.staff, via="engine")

    for caller in (healer, learner, posing):
        with pytest.raises(Forbidden):
            await desk.decide(proposed.approval_id, digest=proposed.digest, caller=caller)

    assert (await approval(desk, proposed.approval_id)).state == "pending"


async def test_whoever_asked_for_high_risk_needs_a_second_person(desk: Desk) -> None:
    proposed = await desk.propose()
    async with desk.database.unit_of_work() as session:
        await session.execute(text("UPDATE action SET risk = 'high'"))

    with pytest.raises(Forbidden, match="second person"):
        await desk.decide(proposed.approval_id)
    second = replace(desk.staff, person_id="per-second", name="Bea")
    answered = await desk.decide(proposed.approval_id, caller=second)

    assert answered.decided_by == "somebody who is gone"


async def test_an_expired_question_is_closed_and_frees_its_target(desk: Desk) -> None:
    proposed = await desk.propose()
    desk.clock.advance(minutes=30)

    with pytest.raises(Conflict, match="expired at 09:30:00"):
        await desk.decide(proposed.approval_id)
    async with desk.database.unit_of_work() as session:
        assert await service.expire_due(session, desk.clock) == 1
        assert await service.expire_due(session, desk.clock) == 0

    state, (action,) = await desk.gatekeeper.standing(proposed.approval_id or "")
    assert (state, action.state) == ("expired", "expired")
    assert (await desk.propose()).outcome == "ask"


async def test_an_unused_permit_expires_with_what_came_after_it(desk: Desk) -> None:
    first, second = await desk.permitted(by_request("a"), by_request("b"))
    desk.clock.advance(minutes=16)

    async with desk.database.unit_of_work() as session:
        await service.expire_due(session, desk.clock)

    assert await desk.states([first, second]) == ["permit_expired", "withdrawn"]
    assert (await desk.gatekeeper.drive(first)).state == "permit_expired"
    assert desk.world.applied.total() == 0


async def verified(desk: Desk) -> str:
    (action_id,) = await desk.permitted()
    await desk.gatekeeper.drive(action_id)
    return action_id


async def ask_undo(desk: Desk, action_id: str) -> ApprovalView:
    async with desk.database.unit_of_work() as session:
        return await service.ask_undo(
            session, desk.staff, action_id, clock=desk.clock, config=desk.config
        )


async def test_an_undo_is_asked_approved_and_done_once(desk: Desk) -> None:
    action_id = await verified(desk)

    question = await ask_undo(desk, action_id)
    again = await ask_undo(desk, action_id)
    assert (question.kind, question.id) == ("undo", again.id)
    assert question.title == "Undo: Turn dial a from 0 to 1"
    with pytest.raises(Conflict, match="no permit to undo"):
        await desk.gatekeeper.drive(action_id, "undo")
    await desk.decide(question.id)
    assert await desk.gatekeeper.ready("agents") == [(action_id, "undo")]
    settled = await desk.gatekeeper.drive(action_id, "undo")
    repeated = await desk.gatekeeper.drive(action_id, "undo")

    assert (settled.state, repeated.state) == ("undone", "undone")
    assert desk.world.dials["a"] == 0
    assert desk.world.undone == {action_id: 1}
    assert (await action_view(desk, action_id)).approved_by == "Ada"
    with pytest.raises(Conflict, match="is undone; only a verified"):
        await ask_undo(desk, action_id)


async def test_ten_people_asking_for_one_undo_get_one_question(desk: Desk) -> None:
    action_id = await verified(desk)

    questions = await asyncio.gather(*(ask_undo(desk, action_id) for _ in range(10)))

    assert len({question.id for question in questions}) == 1


async def test_a_denied_undo_leaves_the_action_and_may_be_asked_again(desk: Desk) -> None:
    action_id = await verified(desk)
    question = await ask_undo(desk, action_id)

    await desk.decide(question.id, "deny")

    assert await desk.states([action_id]) == ["verified"]
    assert desk.world.undone.total() == 0
    assert (await ask_undo(desk, action_id)).id != question.id


async def test_what_has_nothing_to_undo_says_so(desk: Desk) -> None:
    (action_id,) = await desk.permitted(by_request("a", operation=PRESS))
    await desk.gatekeeper.drive(action_id)

    with pytest.raises(Conflict, match="there is nothing to undo"):
        await ask_undo(desk, action_id)


async def test_an_undo_waits_while_another_action_holds_the_target(desk: Desk) -> None:
    action_id = await verified(desk)
    await desk.decide((await ask_undo(desk, action_id)).id)
    holder = await desk.propose(by_request("a", to=5))

    with pytest.raises(Conflict, match="already waits for approval"):
        await desk.gatekeeper.drive(action_id, "undo")

    assert desk.world.undone.total() == 0
    await desk.decide(holder.approval_id, "deny")
    assert (await desk.gatekeeper.drive(action_id, "undo")).state == "undone"


async def test_a_person_frees_the_target_of_a_stuck_action(desk: Desk) -> None:
    (action_id,) = await desk.permitted()
    desk.world.apply_raises, desk.world.observes = "after", "unknown"
    stuck = await desk.gatekeeper.drive(action_id)
    assert stuck.state == "stuck"
    with pytest.raises(CapabilityError, match=r"is stuck \(since 0 seconds ago\)"):
        await desk.propose()

    async with desk.database.unit_of_work() as session:
        released = await service.release_stuck(
            session, desk.staff, action_id, found="done", note="By hand.", clock=desk.clock
        )

    assert released.state == "escalated"
    assert released.note == "Ada looked: it was done. By hand."
    assert (await desk.propose()).outcome == "ask"


async def test_a_run_begun_again_finds_its_own_undo_question_until_it_is_settled(
    desk: Desk,
) -> None:
    (action_id,) = await desk.permitted()
    await desk.gatekeeper.drive(action_id)

    async def ask(run_id: str) -> ApprovalView:
        async with desk.database.unit_of_work() as session:
            return await service.ask_undo(
                session,
                desk.staff,
                action_id,
                clock=desk.clock,
                config=desk.config,
                thread_id="thr-1",
                run_id=run_id,
            )

    first = await ask("run-1")
    assert (await ask("run-1")).id == first.id
    await desk.decide(first.id, "deny")
    with pytest.raises(Conflict, match=r"asked to undo .* already: denied"):
        await ask("run-1")
    second = await ask("run-2")
    assert second.id != first.id
    await desk.decide(second.id)
    assert ((await ask("run-2")).id, (await ask("run-2")).state) == (second.id, "approved")
    with pytest.raises(Conflict, match="permitted already"):
        await ask("run-3")
    await desk.gatekeeper.drive(action_id, "undo")
    with pytest.raises(Conflict, match="is undone; only a verified action"):
        await ask("run-2")
