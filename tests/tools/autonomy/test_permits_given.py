"""Permits that are given and not begun: they count, and what changed since stops them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from memory.tables.autonomy import Freeze
from tests.fakes.gatekeeping import INCIDENT, TURN, Desk, by_request, outcome_of
from tests.fakes.proof import Proof
from tools.autonomy.ledger import RecordedAction
from tools.autonomy.live_record import withdraw_autonomy
from tools.autonomy.policy import PERMIT_FOR
from tools.autonomy.repository import AutonomyRepository
from tools.autonomy.usage import Usage
from tools.kit.deps import engine
from tools.kit.errors import Conflict
from tools.kit.gatekeeper import Intention, Proposed
from tools.kit.operation import Warrant


async def heal(desk: Desk) -> Proposed:
    """What the healer proposes for the incident."""
    healer = engine("healer", tenant_id=desk.staff.tenant_id, tenant_slug="dynasty")
    warrant = Warrant(kind="incident", id=INCIDENT, operation=TURN, target="dials/a")
    return await desk.propose(
        Intention(TURN, {"dial": "a"}, warrant), caller=healer, incident_id=INCIDENT
    )


async def usage(desk: Desk, dial: str = "a") -> Usage:
    async with desk.database.unit_of_work() as session:
        repository = AutonomyRepository(session)
        return await repository.usage(TURN, f"dials/{dial}", desk.clock.now())


async def change(desk: Desk, statement: str) -> None:
    async with desk.database.unit_of_work() as session:
        await session.execute(text(statement))


async def test_while_one_permit_waits_the_next_action_is_asked(desk: Desk, proof: Proof) -> None:
    await proof.earn()

    first = await desk.propose(by_request("a"))
    second = await desk.propose(by_request("b"))

    assert (first.outcome, first.actions[0].state) == ("run", "permitted")
    assert second.outcome == "ask"
    assert second.reason == "1 at work or about to begin (limit 1)."


async def test_a_permit_counts_once_from_the_moment_it_is_given(desk: Desk, proof: Proof) -> None:
    await proof.earn()
    nothing = await usage(desk)
    given_at = desk.clock.now()
    (action,) = (await desk.propose(by_request("a"))).actions
    desk.clock.advance(minutes=1)
    given, elsewhere = await usage(desk), await usage(desk, "b")
    begun_at = desk.clock.now()
    await desk.gatekeeper.begin(action.id, "apply", "somebody")
    begun = await usage(desk)

    assert (nothing.acted_last_hour, nothing.at_work, nothing.last_on_target) == (0, 0, None)
    assert (given.acted_last_hour, given.at_work, given.last_on_target) == (1, 1, given_at)
    assert (elsewhere.acted_last_hour, elsewhere.at_work) == (1, 1)
    assert elsewhere.last_on_target is None
    assert (begun.acted_last_hour, begun.at_work, begun.last_on_target) == (1, 1, begun_at)


async def test_a_permit_of_another_operation_counts_as_about_to_begin_only(
    desk: Desk, proof: Proof
) -> None:
    await proof.earn()
    await desk.propose(by_request("a"))

    async with desk.database.unit_of_work() as session:
        other = await AutonomyRepository(session).usage("other", "dials/a", desk.clock.now())

    assert (other.acted_last_hour, other.at_work) == (0, 1)
    assert other.last_on_target == desk.clock.now()


async def test_a_permit_that_ran_out_or_was_withdrawn_counts_no_more(
    desk: Desk, proof: Proof
) -> None:
    await proof.earn()
    await heal_a(desk)
    desk.clock.advance(seconds=PERMIT_FOR.total_seconds() - 0.001)
    at_the_end = await usage(desk)
    desk.clock.advance(seconds=0.001)
    run_out = await usage(desk)
    await desk.gatekeeper.withdraw(INCIDENT, "It is well again.")
    await heal_a(desk, "b")
    await desk.gatekeeper.withdraw(INCIDENT, "It is well again.")
    withdrawn = await usage(desk, "b")

    assert (at_the_end.acted_last_hour, at_the_end.at_work) == (1, 1)
    assert (run_out.acted_last_hour, run_out.at_work, run_out.last_on_target) == (0, 0, None)
    assert (withdrawn.acted_last_hour, withdrawn.at_work, withdrawn.last_on_target) == (0, 0, None)


async def heal_a(desk: Desk, dial: str = "a") -> None:
    proposed = await desk.propose(by_request(dial), incident_id=INCIDENT)
    assert proposed.outcome == "run"


async def test_a_persons_permit_counts_like_the_gates(desk: Desk) -> None:
    (action,) = await desk.permitted(by_request("a"))

    given = await usage(desk)
    await desk.gatekeeper.drive(action)
    await ask_undo(desk, action)
    undo_allowed = await usage(desk)

    assert (given.acted_last_hour, given.at_work) == (1, 1)
    assert (undo_allowed.acted_last_hour, undo_allowed.at_work) == (1, 0)


async def ask_undo(desk: Desk, action: str) -> None:
    from tools.autonomy import service

    async with desk.database.unit_of_work() as session:
        question = await service.ask_undo(
            session, desk.staff, action, clock=desk.clock, config=desk.config
        )
    await desk.decide(question.id)


async def withdrawn_since(desk: Desk, action: str) -> None:
    async with desk.database.unit_of_work() as session:
        row = await AutonomyRepository(session).action(action)
        assert row is not None
        await withdraw_autonomy(session, row, desk.clock.now())


async def closed_since(desk: Desk, _: str) -> None:
    await change(desk, f"UPDATE incident SET closed_at = now() WHERE id = '{INCIDENT}'")


async def gone_since(desk: Desk, _: str) -> None:
    await change(desk, f"DELETE FROM incident WHERE id = '{INCIDENT}'")


async def frozen_since(desk: Desk, _: str) -> None:
    async with desk.database.unit_of_work() as session:
        session.add(Freeze(operation="*", reason="exams", person_id="p", at=desk.clock.now()))


async def at_work_since(desk: Desk, _: str) -> None:
    """What a person allowed is being done."""
    (other,) = await desk.permitted(by_request("c"))
    await desk.gatekeeper.begin(other, "apply", "somebody")


Since = Callable[[Desk, str], Awaitable[None]]

CHANGES = [
    (withdrawn_since, "Autonomy was withdrawn since: Turn dial a"),
    (closed_since, "Its incident is open no more."),
    (gone_since, "Its incident is open no more."),
    (frozen_since, "Frozen since: exams."),
    (at_work_since, "1 at work by now (limit 1)."),
]


@pytest.mark.parametrize(("since", "said"), CHANGES)
async def test_what_changed_after_the_gates_yes_withdraws_the_action(
    desk: Desk, proof: Proof, since: Since, said: str
) -> None:
    await proof.earn()
    await desk.open_incident()
    proposed = await heal(desk)
    (action,) = proposed.actions
    assert proposed.outcome == "run"
    await since(desk, action.id)

    with pytest.raises(Conflict, match="was allowed by the gate") as refused:
        await desk.gatekeeper.drive(action.id)

    row = await desk.action(action.id)
    assert row.state == "withdrawn"
    assert row.note.startswith(said)
    assert row.note in refused.value.message
    assert not desk.world.applied
    assert (await desk.audit_kinds(action.id))[-1] == "action.withdrawn"
    assert (await desk.gatekeeper.drive(action.id)).state == "withdrawn"


@pytest.mark.parametrize(("since", "said"), CHANGES)
async def test_what_a_person_allowed_runs_whatever_the_gate_would_say(
    desk: Desk, since: Since, said: str
) -> None:
    await desk.open_incident()
    proposed = await heal(desk)
    (action,) = proposed.actions
    await desk.decide(proposed.approval_id)
    await since(desk, action.id)

    assert (await desk.gatekeeper.drive(action.id)).state == "verified"


async def test_a_withdrawn_action_may_be_proposed_and_is_judged_anew(
    desk: Desk, proof: Proof
) -> None:
    await proof.earn()
    await desk.open_incident()
    (action,) = (await heal(desk)).actions
    await frozen_since(desk, action.id)
    await outcome_of(desk.gatekeeper.drive(action.id))

    again = await heal(desk)

    assert (again.outcome, again.reason) == ("ask", "Frozen: exams.")


async def test_of_many_gate_permits_begun_at_once_one_begins(desk: Desk) -> None:
    actions = [*await desk.permitted(by_request("a")), *await desk.permitted(by_request("b"))]
    actions += await desk.permitted(by_request("c"))
    await change(desk, "UPDATE permit SET granted_by = 'gate'")

    ends = await asyncio.gather(
        *(outcome_of(desk.another().begin(action, "apply", "somebody")) for action in actions)
    )

    assert sum(isinstance(end, RecordedAction) for end in ends) == 1
    assert sum(isinstance(end, Conflict) for end in ends) == 2
    assert sorted(await desk.states(actions)) == ["intended", "withdrawn", "withdrawn"]
