"""From a proposal over a person's answer to an effect, on a real database."""

import pytest

from tests.fakes.gatekeeping import PRESS, Desk, by_request
from tools.kit.deps import Caller, engine
from tools.kit.errors import Conflict, Forbidden, Invalid, NotFound
from tools.kit.gatekeeper import Intention
from tools.kit.operation import Warrant


async def test_an_approved_action_is_done_once_and_verified(desk: Desk) -> None:
    proposed = await desk.propose()

    assert proposed.outcome == "ask"
    assert "No evidence yet: earned in evaluation suites" in proposed.reason
    assert desk.world.applied.total() == 0

    await desk.decide(proposed.approval_id)
    action_id = proposed.actions[0].id
    assert await desk.gatekeeper.ready("agents") == [(action_id, "apply")]
    settled = await desk.gatekeeper.drive(action_id)
    again = await desk.gatekeeper.drive(action_id)

    assert (settled.state, again.state) == ("verified", "verified")
    assert settled.text == "Done, and it helped. The dial shows 1."
    assert desk.world.applied == {action_id: 1}
    assert await desk.gatekeeper.ready("agents") == []
    assert await desk.audit_kinds(action_id) == [
        "action.planned",
        "action.asked",
        "action.permitted",
        "action.intended",
        "action.applied",
        "action.verified",
    ]


async def test_nothing_runs_before_somebody_answered(desk: Desk) -> None:
    proposed = await desk.propose()

    with pytest.raises(Conflict, match="is asked"):
        await desk.gatekeeper.drive(proposed.actions[0].id)

    assert desk.world.applied.total() == 0


async def test_the_same_tool_call_proposed_twice_answers_the_first(desk: Desk) -> None:
    first = await desk.propose(thread_id="thr-1", tool_call_id="call-1")
    second = await desk.propose(thread_id="thr-1", tool_call_id="call-1")

    assert second == first


async def test_a_target_that_is_held_names_its_holder(desk: Desk) -> None:
    first = await desk.propose()

    with pytest.raises(Conflict, match="already waits for approval") as raised:
        await desk.propose(by_request("b"), by_request("a"))

    assert raised.value.details["action_id"] == first.actions[0].id
    assert raised.value.details["approval_id"] == first.approval_id
    assert [a.state for a in (await desk.propose(by_request("b"))).actions] == ["asked"]


async def test_what_cannot_be_planned_says_what_would_be_right(desk: Desk) -> None:
    warrant = Warrant(kind="request", id="run-1", operation="x", target="y")

    with pytest.raises(Invalid, match=r"There are: testing\.press_button, testing\.turn_dial"):
        await desk.propose(Intention("testing.explode", {}, warrant))
    with pytest.raises(Invalid, match=r"takes dial, to\. dial: Field required"):
        await desk.propose(Intention(PRESS, {}, warrant))
    with pytest.raises(NotFound, match="There is no dial z"):
        await desk.propose(by_request("z"))
    with pytest.raises(Invalid, match="each target once"):
        await desk.propose(by_request("a"), by_request("a", to=2))
    with pytest.raises(Invalid, match="at least one action"):
        await desk.gatekeeper.propose(
            desk.staff, [], decided_by="person", executor="agents", title="Nothing"
        )


async def test_a_learner_can_propose_nothing(desk: Desk) -> None:
    learner = Caller("ten-x", "x", "per-x", "Eve", frozenset({"learner"}), fleet=False)

    with pytest.raises(Forbidden):
        await desk.propose(caller=learner)


async def test_an_action_without_a_matching_cause_is_refused(desk: Desk) -> None:
    elsewhere = Warrant(kind="request", id="run-1", operation=PRESS, target="dials/b")
    none = Warrant(kind="none", id="", operation=PRESS, target="dials/a")

    for warrant, said in ((elsewhere, "about dials/b, not dials/a"), (none, "names no cause")):
        proposed = await desk.propose(Intention(PRESS, {"dial": "a"}, warrant))
        assert proposed.outcome == "refuse"
        assert said in proposed.reason
        assert proposed.actions[0].state == "refused"
        assert proposed.approval_id is None
        with_warrant = await desk.gatekeeper.drive(proposed.actions[0].id)
        assert with_warrant.state == "refused"

    assert desk.world.applied.total() == 0


async def test_an_engine_cannot_lean_on_a_request_nobody_made(desk: Desk) -> None:
    healer = engine("healer", tenant_id=desk.staff.tenant_id, tenant_slug="dynasty")

    proposed = await desk.propose(by_request("a"), caller=healer, decided_by="engine")

    assert proposed.outcome == "refuse"
    assert "no request of a person run-1" in proposed.reason


async def test_several_actions_run_in_order_and_stop_at_the_first_failure(desk: Desk) -> None:
    a, b, c = await desk.permitted(by_request("a"), by_request("b"), by_request("c"))

    with pytest.raises(Conflict, match="has to wait"):
        await desk.gatekeeper.drive(b)
    assert await desk.gatekeeper.ready("agents") == [(a, "apply")]
    assert (await desk.gatekeeper.drive(a)).state == "verified"
    assert await desk.gatekeeper.ready("agents") == [(b, "apply")]
    desk.world.apply_raises = "before"
    failed = await desk.gatekeeper.drive(b)

    assert failed.state == "failed"
    assert "the dial is stuck" in failed.text
    assert await desk.states([a, b, c]) == ["verified", "failed", "withdrawn"]
    assert "what came first on dials/b failed" in (await desk.action(c)).note
    assert (await desk.gatekeeper.drive(c)).state == "withdrawn"
    assert set(desk.world.applied) == {a, b}


async def test_a_changed_state_withdraws_and_leaves_the_permit_unused(desk: Desk) -> None:
    a, b = await desk.permitted(by_request("a"), by_request("b"))
    desk.world.dials["a"] = 7

    settled = await desk.gatekeeper.drive(a)

    assert settled.state == "withdrawn"
    assert "moved to 7 meanwhile" in settled.text
    assert await desk.states([a, b]) == ["withdrawn", "withdrawn"]
    assert desk.world.applied.total() == 0
    assert "action.intended" not in await desk.audit_kinds()


async def test_a_vanished_cause_withdraws_question_and_action(desk: Desk) -> None:
    asked = await desk.propose(incident_id="inc-1")
    (permitted,) = await desk.permitted(by_request("b"), incident_id="inc-1")
    other = await desk.propose(by_request("c"), incident_id="inc-2")

    await desk.gatekeeper.withdraw("inc-1", "The replica came back by itself.")

    state, (action,) = await desk.gatekeeper.standing(asked.approval_id or "")
    assert (state, action.state) == ("withdrawn", "withdrawn")
    assert "came back by itself" in action.text
    assert await desk.states([permitted, other.actions[0].id]) == ["withdrawn", "asked"]
    with pytest.raises(Conflict, match="withdrawn already"):
        await desk.decide(asked.approval_id)


async def test_a_permit_that_ran_out_runs_nothing(desk: Desk) -> None:
    (action_id,) = await desk.permitted()
    desk.clock.advance(minutes=15)

    with pytest.raises(Conflict, match="ran out"):
        await desk.gatekeeper.drive(action_id)

    assert await desk.gatekeeper.ready("agents") == []
    assert desk.world.applied.total() == 0


async def test_only_its_executor_is_offered_the_work(desk: Desk) -> None:
    await desk.permitted(executor="healer")

    assert await desk.gatekeeper.ready("agents") == []
    assert len(await desk.gatekeeper.ready("healer")) == 1


async def test_limits_are_named_in_the_reason(desk: Desk) -> None:
    (first,) = await desk.permitted()
    await desk.gatekeeper.drive(first)

    again = await desk.propose(by_request("a", to=2))
    both = await desk.propose(by_request("b"), by_request("c"))

    assert "acted on this target 0 minutes ago (cool-down 10)" in again.reason
    assert "2 targets at once (blast radius 1)" in both.reason
    await desk.decide(again.approval_id, "deny")
    desk.clock.advance(minutes=10)
    assert "cool-down" not in (await desk.propose(by_request("a", to=3))).reason
