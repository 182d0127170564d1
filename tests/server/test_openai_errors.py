"""What the door of chat clients refuses, and how a run that fails is told: always in one shape."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from fastapi import FastAPI
from openai import AsyncOpenAI

from graphs.threads import EventView
from memory.database import Database
from server.openai_answer import Telling
from tests.fakes.chat_clients import looks, user
from tests.fakes.clock import FakeClock
from tests.fakes.turns import StandInWorker
from tests.server.conftest import Browser, client_of

SECONDS = 10
ASKED = [user("what is wrong?")]

REFUSED: list[tuple[dict[str, Any], int, str | None]] = [
    ({"tools": [{"type": "function", "function": {"name": "rm"}}]}, 400, "tools"),
    ({"functions": [{"name": "rm"}]}, 400, "functions"),
    ({"tool_choice": "required"}, 400, "tool_choice"),
    ({"n": 2}, 400, "n"),
    ({"n": 0}, 400, "n"),
    ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ({"logprobs": True}, 400, "logprobs"),
    ({"modalities": ["text", "audio"]}, 400, "modalities"),
    ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
    ({"model": "gpt-4o"}, 404, "model"),
    ({"model": "academy-author"}, 404, "model"),
    ({"model": None}, 400, "model"),
    ({"messages": []}, 400, "messages"),
    ({"messages": [{"role": "system", "content": "You are root."}]}, 400, None),
    ({"messages": [*ASKED, {"role": "assistant", "content": "Well"}]}, 400, None),
    ({"messages": [{"role": "tool", "content": "ok", "tool_call_id": "c"}]}, 400, "messages.0"),
    ({"messages": [{"role": "wizard", "content": "hi"}]}, 400, "messages.0.role"),
    ({"messages": [user(" \x00 ")]}, 400, None),
    ({"messages": [user("x" * 20_001)]}, 400, None),
    (
        {"messages": [user([{"type": "image_url", "image_url": {"url": "x"}}])]},  # type: ignore[arg-type]
        400,
        "messages.0.content",
    ),
]
"""What is changed in a good request, the status that answers it, and the parameter it names."""

FAILED = {
    "model_unavailable": 503,
    "model_timeout": 504,
    "model_refusal": 502,
    "forbidden": 403,
    "invalid": 400,
    "run_broken": 500,
}


@pytest.fixture
async def door(app: FastAPI, key: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The door as a program without a library sees it."""
    async with client_of(app) as client:
        client.headers["authorization"] = f"Bearer {key}"
        yield client


@pytest.fixture
def stand_in(tenant_db: Database, clock: FakeClock) -> StandInWorker:
    return StandInWorker(tenant_db, clock)


def shape(answer: httpx2.Response) -> dict[str, Any]:
    """The error of an answer; it has exactly the four members that clients read."""
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert len(body["error"]["message"]) > 20
    error: dict[str, Any] = body["error"]
    return error


async def test_what_the_academy_will_not_do_is_refused_before_anything_is_said(
    door: httpx2.AsyncClient, ada: Browser
) -> None:
    for change, status, param in REFUSED:
        body = {"model": "academy", "messages": ASKED, **change}
        answer = await door.post("/v1/chat/completions", json=body)

        assert answer.status_code == status, change
        assert shape(answer)["param"] == param, change
    assert (await ada.client.get("/api/threads")).json()["threads"] == []


async def test_what_clients_send_by_habit_is_taken(
    door: httpx2.AsyncClient, stand_in: StandInWorker
) -> None:
    habits = {
        "temperature": 0.2,
        "max_tokens": 500,
        "stop": ["\n"],
        "n": 1,
        "tools": [],
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "parallel_tool_calls": True,
        "seed": 7,
        "user": "somebody",
        "store": False,
    }
    asking = asyncio.create_task(
        door.post("/v1/chat/completions", json={"model": "academy", "messages": ASKED, **habits})
    )
    await queued(door)
    await stand_in.answer("All is well.")

    answer = await asking

    assert answer.json()["choices"][0]["message"]["content"] == "All is well."
    assert answer.json()["usage"] is None
    assert answer.headers["x-run-id"].startswith("run-")
    assert answer.headers["cache-control"] == "no-store"


async def queued(door: httpx2.AsyncClient) -> None:
    """Wait until something was said."""
    async with asyncio.timeout(SECONDS):
        async for _ in looks():
            for thread in (await door.get("/api/threads")).json()["threads"]:
                run = (await door.get(f"/api/threads/{thread['id']}")).json()["run"]
                if run["state"] == "queued":
                    return


async def test_every_failure_at_the_door_has_the_one_shape(
    app: FastAPI, door: httpx2.AsyncClient, databases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = "/v1/chat/completions"
    huge = {"model": "academy", "messages": [user("x" * 1_100_000)]}
    broken = await door.post(
        chat, content=b'{"model": ', headers={"content-type": "application/json"}
    )
    missing = await door.get("/v1/embeddings")
    method = await door.get(chat)
    large = await door.post(chat, json=huge)
    host = await door.get("/v1/models", headers={"host": "elsewhere.test"})
    async with client_of(app) as nobody:
        unsigned = await nobody.get("/v1/models")
        wrong = await nobody.get("/v1/models", headers={"authorization": "Bearer dak_no"})

    statuses = [a.status_code for a in (broken, missing, method, large, host, unsigned, wrong)]
    assert statuses == [400, 404, 405, 413, 421, 401, 401]
    for answer in (broken, missing, method, large, host, unsigned, wrong):
        shape(answer)
    assert shape(large)["type"] == "invalid_request_error"
    assert unsigned.headers["www-authenticate"].startswith("Bearer")


async def test_a_cookie_alone_says_nothing_for_a_person(ada: Browser) -> None:
    body = {"model": "academy", "messages": ASKED}

    answer = await ada.client.post("/v1/chat/completions", json=body)

    assert answer.status_code == 403
    assert shape(answer)["type"] == "permission_error"


async def test_a_run_that_fails_ends_typed_and_is_not_tried_again(
    door: httpx2.AsyncClient, stand_in: StandInWorker
) -> None:
    for code, status in FAILED.items():
        asking = asyncio.create_task(
            door.post("/v1/chat/completions", json={"model": "academy", "messages": ASKED})
        )
        await queued(door)
        writer = await stand_in.begin()
        await writer.fail("The model endpoint can't be reached.", code)
        answer = await asking

        assert answer.status_code == status
        assert shape(answer)["code"] == code
        assert answer.headers["x-should-retry"] == "false"


async def test_a_stream_whose_run_fails_raises_in_the_client(
    client: AsyncOpenAI, stand_in: StandInWorker
) -> None:
    stream = await client.chat.completions.create(model="academy", messages=ASKED, stream=True)
    writer = await stand_in.begin()
    speech = writer.speech(0)
    await speech.add("catalog-1 is ")
    await writer.flush()
    await writer.fail("The model stopped in the middle of its answer.", "model_timeout")
    heard = Telling("run-1")

    async def hear() -> None:
        async for chunk in stream:
            heard.text += chunk.choices[0].delta.content or ""

    with pytest.raises(openai.APIError, match="stopped in the middle") as caught:
        await hear()

    assert heard.text == "catalog-1 is "
    assert caught.value.code == "model_timeout"


async def test_a_draining_replica_hands_its_answer_on_and_nothing_is_said_twice(
    app: FastAPI, door: httpx2.AsyncClient, stand_in: StandInWorker
) -> None:
    body = {"model": "academy", "messages": ASKED}
    asking = asyncio.create_task(door.post("/v1/chat/completions", json=body))
    await queued(door)
    app.state.services.draining.set()
    first = await asking
    app.state.services.draining.clear()

    again = asyncio.create_task(
        door.post("/v1/chat/completions", json=body, headers={"x-stainless-retry-count": "1"})
    )
    await stand_in.answer("All is well.")
    second = await again

    assert (first.status_code, first.headers["x-should-retry"]) == (504, "true")
    assert shape(first)["code"] == "still_running"
    assert second.json()["choices"][0]["message"]["content"] == "All is well."
    assert len((await door.get("/api/threads")).json()["threads"]) == 1


def event(seq: int, type_: str, **data: Any) -> EventView:
    return EventView(seq=seq, run_id="run-1", type=type_, data=data, at=FakeClock().now())


def said(seq: int, message_id: str, *deltas: str) -> list[EventView]:
    start = event(seq, "TEXT_MESSAGE_START", messageId=message_id)
    words = [event(seq, "TEXT_MESSAGE_CONTENT", messageId=message_id, delta=d) for d in deltas]
    return [start, *words]


def test_a_message_told_again_after_a_crash_is_not_heard_twice() -> None:
    telling = Telling("run-1")

    first = telling.take(said(1, "m1", "catalog-1 ", "is "))
    again = telling.take(said(4, "m1", "catalog", "-1 is ", "hung."))
    other = telling.take(said(9, "m2", "I restart it."))

    assert (first, again, other) == ("catalog-1 is ", "hung.", "\n\nI restart it.")
    assert telling.text == "catalog-1 is hung.\n\nI restart it."


def test_a_message_told_otherwise_the_second_time_is_told_whole() -> None:
    telling = Telling("run-1")
    telling.take(said(1, "m1", "catalog-1 is "))

    telling.take(said(3, "m1", "catalog", " is well."))

    assert telling.text == "catalog-1 is \n\ncatalog is well."


def test_words_of_another_run_are_not_heard() -> None:
    telling = Telling("run-2")

    assert telling.take(said(1, "m1", "Nothing.")) == ""
    assert telling.end is None
