"""Streams: in order, resumable, ended by a drain, and the same events as HTML."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from memory.database import Database
from server.auth import COOKIE
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.turns import StandInWorker, say
from tests.server.conftest import Browser
from tools.kit.deps import Caller

SECONDS = 10


@pytest.fixture
async def live(served: str, ada: Browser) -> AsyncIterator[httpx2.AsyncClient]:
    """Ada's browser on the real port."""
    cookies = {COOKIE: ada.client.cookies[COOKIE]}
    headers = {"x-csrf-token": ada.csrf}
    async with httpx2.AsyncClient(
        base_url=served, cookies=cookies, headers=headers, timeout=SECONDS
    ) as client:
        yield client


@pytest.fixture
def caller(ada: Browser) -> Caller:
    return Caller(
        tenant_id=TENANT_ID,
        tenant_slug="dynasty",
        person_id=ada.person.id,
        name=ada.person.name,
        roles=frozenset({"staff"}),
        fleet=True,
    )


@pytest.fixture
def worker(tenant_db: Database, clock: FakeClock) -> StandInWorker:
    return StandInWorker(tenant_db, clock)


async def messages(response: httpx2.Response) -> AsyncIterator[tuple[int | None, str]]:
    """Id and data of each message of a stream, as they come."""
    number: int | None = None
    data: list[str] = []
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            data.append(line[6:])
        elif not line and data:
            yield number, "\n".join(data)
            number, data = None, []


async def collected(response: httpx2.Response, until: str) -> list[tuple[int, dict[str, Any]]]:
    """AG-UI events of a stream up to the one of type *until*."""
    found: list[tuple[int, dict[str, Any]]] = []
    async with asyncio.timeout(SECONDS):
        async for number, data in messages(response):
            assert number is not None
            found.append((number, json.loads(data)))
            if found[-1][1]["type"] == until:
                break
    return found


async def test_an_answer_streams_while_it_is_made_and_the_stream_ends_with_it(
    live: httpx2.AsyncClient, worker: StandInWorker
) -> None:
    thread = (await live.post("/api/threads")).json()["id"]
    async with live.stream(
        "POST", f"/api/threads/{thread}/messages", json={"text": "What is wrong?"}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-run-id"].startswith("run-")
        await worker.answer("Nothing is wrong.")
        events = [json.loads(data) async for _, data in messages(response)]

    assert [e["type"] for e in events] == [
        "RUN_STARTED",
        "STATE_SNAPSHOT",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert events[3]["delta"] == "Nothing is wrong."
    assert events[5]["outcome"] == {"type": "success"}


async def test_a_stream_resumes_after_the_last_event_seen(
    live: httpx2.AsyncClient,
    worker: StandInWorker,
    tenant_db: Database,
    caller: Caller,
    clock: FakeClock,
) -> None:
    thread = await say(tenant_db, caller, clock, "What is wrong?")
    await worker.answer("Nothing.")
    path = f"/api/threads/{thread}/events"
    async with live.stream("GET", path) as response:
        whole = await collected(response, "RUN_FINISHED")

    async with live.stream("GET", path, headers={"last-event-id": str(whole[2][0])}) as response:
        rest = await collected(response, "RUN_FINISHED")

    assert [number for number, _ in whole] == list(range(1, 7))
    assert rest == whole[3:]


async def test_a_stream_that_shall_only_replay_ends(
    live: httpx2.AsyncClient,
    worker: StandInWorker,
    tenant_db: Database,
    caller: Caller,
    clock: FakeClock,
) -> None:
    thread = await say(tenant_db, caller, clock, "What is wrong?")
    await worker.answer("Nothing.")

    answer = await live.get(f"/api/threads/{thread}/events?end=stored")

    assert answer.text.count("data: ") == 6


async def test_a_message_sent_twice_with_one_key_is_said_once(
    live: httpx2.AsyncClient, worker: StandInWorker
) -> None:
    thread = (await live.post("/api/threads")).json()["id"]
    path, headers = f"/api/threads/{thread}/messages", {"idempotency-key": "k-1"}
    body = {"text": "restart catalog"}
    async with live.stream("POST", path, json=body, headers=headers) as first:
        run = first.headers["x-run-id"]
        await worker.answer("Asked.")
    async with live.stream("POST", path, json=body, headers=headers) as second:
        events = await collected(second, "RUN_FINISHED")

    assert second.headers["x-run-id"] == run
    assert events[0][1]["type"] == "RUN_STARTED"
    shown = (await live.get(f"/api/threads/{thread}")).json()
    assert [m["role"] for m in shown["messages"]] == ["user", "assistant"]


async def test_a_draining_replica_ends_its_streams_and_asks_to_be_resumed_soon(
    app: FastAPI,
    live: httpx2.AsyncClient,
    tenant_db: Database,
    caller: Caller,
    clock: FakeClock,
) -> None:
    thread = await say(tenant_db, caller, clock)
    async with live.stream("GET", f"/api/threads/{thread}/events") as response:
        app.state.services.draining.set()
        async with asyncio.timeout(SECONDS):
            text = "".join([chunk async for chunk in response.aiter_text()])
    ready = await live.get("/readyz")

    assert "retry: 200" in text
    assert ready.status_code == 503
    assert ready.json()["ready"] is False


async def test_somebody_elses_thread_cannot_be_followed(
    live: httpx2.AsyncClient, bert: Browser, tenant_db: Database, clock: FakeClock, caller: Caller
) -> None:
    thread = await say(tenant_db, caller, clock, "mine")

    for path in (f"/api/threads/{thread}/events", f"/threads/{thread}/stream"):
        assert (await bert.client.get(path)).status_code == 404


async def test_the_page_stream_sends_each_changed_item_whole(
    live: httpx2.AsyncClient,
    worker: StandInWorker,
    tenant_db: Database,
    caller: Caller,
    clock: FakeClock,
) -> None:
    thread = await say(tenant_db, caller, clock, "What is wrong?")
    path = f"/threads/{thread}/stream"
    async with live.stream("GET", path) as response:
        writer = await worker.begin()
        speech = writer.speech(0)
        await speech.add("catalog-1 is ")
        await writer.flush()
        await anything_with(response, "catalog-1 is")
    await speech.add("**hung**.")
    await speech.end()
    await writer.finish()
    seen = {"last-event-id": "4"}
    async with live.stream("GET", path, headers=seen) as response:
        html = await anything_with(response, "hung")

    assert "<p>catalog-1 is <strong>hung</strong>.</p>" in html
    assert 'id="said-' in html
    assert ":not(:has(#said-" in html


async def anything_with(response: httpx2.Response, text: str) -> str:
    async with asyncio.timeout(SECONDS):
        async for _, data in messages(response):
            if text in data:
                return data
    raise AssertionError(f"the stream ended without {text!r}")
