"""Questions within a conversation: answered, unanswered, left behind, and answered twice."""

import asyncio
import json
from dataclasses import replace

import pytest
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolCallPart, ToolReturnPart
from sqlalchemy import update

from graphs.approvals import close_open_calls, load_history
from memory.ids import new_id
from memory.tables.threads import Run
from tests.fakes.conversation import Conversation
from tools.autonomy import service as autonomy
from tools.kit.errors import Conflict


async def test_a_denied_question_does_nothing_and_says_so(talk: Conversation) -> None:
    await talk.ask("restart player")
    await talk.decide("deny")

    assert "The person said no; nothing was done." in await talk.answered()
    assert talk.fleet.restarted == []
    assert await talk.actions() == [("player/player-1", "denied")]
    assert (await talk.run()).state == "finished"


async def test_an_expired_question_does_nothing_and_says_so(talk: Conversation) -> None:
    await talk.ask("restart player")
    talk.clock.advance(minutes=31)
    async with talk.control.unit_of_work() as session:
        await autonomy.expire_due(session, talk.clock)

    assert "Nobody decided in time; nothing was done." in await talk.answered()
    assert talk.fleet.restarted == []


async def test_an_open_question_waits_however_often_the_worker_looks(talk: Conversation) -> None:
    await talk.ask("restart player")

    assert await talk.answered() == ""
    assert (await talk.run()).state == "waiting"


async def test_a_new_message_on_a_paused_thread_withdraws_the_question(talk: Conversation) -> None:
    await talk.ask("restart player")
    question = await talk.question()

    words = await talk.ask("how is catalog doing?")

    assert "catalog is healthy" in words
    assert await talk.actions() == [("player/player-1", "withdrawn")]
    async with talk.control.unit_of_work() as session:
        with pytest.raises(Conflict):
            await autonomy.decide(
                session,
                talk.staff,
                question.id,
                decision="approve",
                digest=question.digest,
                clock=talk.clock,
                config=talk.runtime.autonomy,
            )
    await talk.ask("restart player")
    await talk.decide("approve")
    await talk.answered()
    assert talk.fleet.restarted == ["player-1"]


async def test_a_yes_given_before_the_next_message_is_carried_out_first(
    talk: Conversation,
) -> None:
    await talk.ask("restart player")
    await talk.decide("approve")

    words = await talk.ask("how is catalog doing?")

    assert words.index("player-1: Done") < words.index("catalog is healthy")
    assert talk.fleet.restarted == ["player-1"]


async def test_two_workers_resume_one_decision_with_one_effect(talk: Conversation) -> None:
    await talk.ask("restart catalog")
    await talk.decide("approve")

    await asyncio.gather(*(talk.answered(owner=new_id("wrk")) for _ in range(3)))

    assert talk.fleet.restarted == ["catalog-1", "catalog-2"]
    assert {state for _, state in await talk.actions()} == {"verified"}
    assert (await talk.run()).state == "finished"


async def test_the_second_replica_is_left_alone_when_the_first_did_not_come_up(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_: object, **__: object) -> int:
        raise Conflict("catalog-1 no longer runs as it did.")

    await talk.ask("restart catalog")
    await talk.decide("approve")
    monkeypatch.setattr(talk.fleet, "restart", refuses)

    words = await talk.answered()

    assert "did not happen" in words
    assert await talk.actions() == [
        ("catalog/catalog-1", "failed"),
        ("catalog/catalog-2", "withdrawn"),
    ]


async def test_approved_work_without_a_conversation_is_driven_all_the_same(
    talk: Conversation,
) -> None:
    await talk.ask("restart player")
    await talk.decide("approve")
    turns = talk.runtime.turns(new_id("wrk"))
    async with turns.opened():
        await turns.drive_left_over([talk.staff.tenant_id])
        assert turns.at_work == set()
        async with talk.tenant.unit_of_work() as session:
            await session.execute(update(Run).values(state="cancelled"))
        await turns.drive_left_over([talk.staff.tenant_id])
        await asyncio.gather(*turns.at_work)

    assert talk.fleet.restarted == ["player-1"]


@pytest.mark.parametrize(
    ("again", "answer"),
    [
        ("restart the player", "A restart of player-1 is already waiting for approval (asked 2 mi"),
        ("reinicia player", "Un reinicio de player-1 ya espera aprobación (se pidió hace 2 minut"),
    ],
)
async def test_a_target_that_is_taken_is_told_with_what_waits_and_since_when(
    talk: Conversation, again: str, answer: str
) -> None:
    await talk.ask("restart the player")
    talk.clock.advance(minutes=2)
    other = replace(talk, thread_id="", seen=0)

    words = await other.ask(again)

    assert answer in words
    assert "act-" not in words
    assert other.of("TOOL_CALL_RESULT")[-1]["ok"] is False
    question = await talk.question()
    assert question.title == "Restart player-1"
    await talk.decide("approve")
    await talk.answered()
    assert talk.fleet.restarted == ["player-1"]


def test_an_open_call_is_closed_with_what_became_of_it() -> None:
    history = load_history(
        json.dumps(
            [
                {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "go"}]},
                {
                    "kind": "response",
                    "parts": [
                        {
                            "part_kind": "tool-call",
                            "tool_name": "restart_replica",
                            "args": "{}",
                            "tool_call_id": "call_1",
                        }
                    ],
                },
            ]
        )
    )

    closed = close_open_calls(history, {"call_1": "It was done."}, "Nothing was done.")

    assert [part.content for part in closed[-1].parts] == ["It was done."]
    assert close_open_calls(closed, {}, "Nothing was done.") == closed


def test_an_open_call_is_closed_though_its_id_was_used_before() -> None:
    """Some endpoints number the calls of each answer anew."""

    def called(name: str) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(name, {}, tool_call_id="call_0")])

    looked = ToolReturnPart("look", "All is well.", tool_call_id="call_0")
    history = [called("look"), ModelRequest(parts=[looked]), called("restart_service")]

    closed = close_open_calls(history, {"call_0": "It was done."}, "Nothing was done.")

    assert [part.content for part in closed[-1].parts] == ["It was done."]
    assert [part.tool_name for part in closed[-1].parts] == ["restart_service"]
