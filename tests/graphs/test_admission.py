"""Rights are those of this moment: whoever lost them gets a plain refusal, and nothing happens."""

import asyncio

import pytest
from sqlalchemy import delete, update

from memory.ids import new_id
from memory.tables.identity import Membership, Person, TenantRecord
from memory.tables.threads import Run
from tests.fakes.conversation import Conversation


async def demote(talk: Conversation, role: str | None) -> None:
    """Leave the person with one role, or none."""
    async with talk.control.unit_of_work() as session:
        await session.execute(delete(Membership))
        if role is not None:
            person, tenant = talk.staff.person_id, talk.staff.tenant_id
            session.add(Membership(person_id=person, tenant_id=tenant, role=role))


async def ungrant(talk: Conversation) -> None:
    """Take the fleet from the whole tenant."""
    async with talk.control.unit_of_work() as session:
        await session.execute(update(TenantRecord).values(fleet=False))


@pytest.mark.parametrize("loss", ["member", "role", "grant"])
async def test_an_approved_restart_of_somebody_who_lost_the_right_does_not_happen(
    talk: Conversation, loss: str
) -> None:
    await talk.ask("restart catalog")
    await talk.decide("approve")
    if loss == "grant":
        await ungrant(talk)
    else:
        await demote(talk, None if loss == "member" else "author")

    words = await talk.answered()

    assert talk.fleet.restarted == []
    assert {state for _, state in await talk.actions()} == {"withdrawn"}
    assert "may no longer act on the fleet" in words
    error = talk.of("RUN_ERROR")[0]
    assert error["code"] == "forbidden"
    expected = "no longer a member" if loss == "member" else "You may no longer act on the fleet."
    assert expected in error["message"]
    assert (await talk.run()).state == "failed"
    await leave_to_itself(talk)
    assert talk.fleet.restarted == []


async def leave_to_itself(talk: Conversation) -> None:
    """Let a worker drive what no conversation comes back to."""
    turns = talk.runtime.turns(new_id("wrk"))
    async with turns.opened():
        await turns.drive_left_over([talk.staff.tenant_id])
        await asyncio.gather(*turns.at_work)


async def test_left_over_work_of_somebody_who_lost_the_right_is_withdrawn(
    talk: Conversation,
) -> None:
    await talk.ask("restart player")
    await talk.decide("approve")
    async with talk.tenant.unit_of_work() as session:
        await session.execute(update(Run).values(state="cancelled"))
    await demote(talk, "author")

    await leave_to_itself(talk)

    assert talk.fleet.restarted == []
    assert await talk.actions() == [("player/player-1", "withdrawn")]


async def test_a_message_is_answered_with_the_rights_of_now(talk: Conversation) -> None:
    assert "Nothing is wrong" in await talk.ask("what is wrong?")
    await talk.post("restart player")
    await demote(talk, "author")

    words = await talk.answered()

    assert "The fleet is for operators and for staff" in words
    assert await talk.actions() == []


async def test_whoever_left_the_academy_is_told_so(talk: Conversation) -> None:
    await talk.post("what is wrong?")
    await demote(talk, None)

    assert await talk.answered() == ""
    assert "no longer a member of this academy" in talk.of("RUN_ERROR")[0]["message"]


async def test_a_right_that_was_given_meanwhile_counts(talk: Conversation) -> None:
    await demote(talk, "author")
    await talk.post("restart player")
    async with talk.control.unit_of_work() as session:
        await session.execute(update(Person).values(operator=True))

    await talk.answered()

    assert (await talk.run()).state == "waiting"
