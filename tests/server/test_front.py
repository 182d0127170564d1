"""Which replica the front asks, what it repeats, and what it says when none can answer."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator

import pytest

from tests.fakes.fronting import WITHIN, RunningFront, running_front
from tests.fakes.replica import Exchange, ScriptedReplica

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def front() -> AsyncIterator[RunningFront]:
    async with running_front() as running:
        yield running


async def test_requests_spread_over_ready_replicas(front: RunningFront) -> None:
    for _ in range(10):
        assert (await front.client.get("/")).text == "ok"

    assert [len(replica.seen) for replica in front.replicas] == [5, 5]


async def test_the_least_busy_replica_is_asked(front: RunningFront) -> None:
    one, two = front.replicas
    free = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        if exchange.path == "/slow":
            await free.wait()
        await exchange.answer()

    one.script = two.script = slow
    waiting = asyncio.create_task(front.client.get("/slow"))
    await front.until(lambda health: sum(r["in_flight"] for r in health["replicas"]) == 1)
    for _ in range(6):
        await front.client.get("/")
    free.set()
    await waiting

    busy, other = (one, two) if any(e.path == "/slow" for e in one.seen) else (two, one)
    assert len(busy.seen) == 1
    assert len(other.seen) == 6


async def test_a_draining_replica_gets_no_new_request_and_finishes_its_own(
    front: RunningFront,
) -> None:
    one, two = front.replicas
    free = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await free.wait()
        await exchange.answer(b"late")

    one.script = two.script = slow
    waiting = [asyncio.create_task(front.client.get("/slow")) for _ in range(2)]
    await front.until(lambda health: all(r["in_flight"] == 1 for r in health["replicas"]))
    one.ready = False
    await front.until_ready(one=False, two=True)
    two.script = ScriptedReplica("").script
    for _ in range(4):
        assert (await front.client.get("/")).status_code == 200
    free.set()

    assert [(await each).text for each in waiting] == ["late", "late"]
    assert len(one.seen) == 1


async def test_a_refused_connection_is_tried_elsewhere_even_for_a_post(front: RunningFront) -> None:
    one, two = front.replicas
    await one.stop()

    for _ in range(4):
        assert (await front.client.post("/", content=b"x")).status_code == 200
    assert len(two.seen) == 4


async def test_a_read_is_repeated_when_its_replica_dies_before_answering(
    front: RunningFront,
) -> None:
    one = front.replicas[0]

    async def die(exchange: Exchange) -> None:
        exchange.writer.transport.abort()

    one.script = die
    for _ in range(6):
        assert (await front.client.get("/")).text == "ok"
    assert (await front.health())["repeated"] >= 1


async def test_a_read_that_breaks_every_replica_is_not_repeated_for_ever(
    front: RunningFront,
) -> None:
    one, two = front.replicas

    async def die(exchange: Exchange) -> None:
        exchange.writer.transport.abort()

    one.script = two.script = die

    assert (await front.client.get("/")).status_code == 502
    assert len(one.seen) + len(two.seen) == 3


async def test_a_write_is_not_repeated_and_its_fate_is_said_to_be_unknown(
    front: RunningFront,
) -> None:
    one, two = front.replicas

    async def die(exchange: Exchange) -> None:
        exchange.writer.transport.abort()

    one.script = two.script = die
    answer = await front.client.post("/", content=b"x")

    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert "not known" in answer.json()["detail"]
    assert len(one.seen) + len(two.seen) == 1


async def test_a_chat_client_is_told_in_its_own_shape_to_send_it_again(
    front: RunningFront,
) -> None:
    one, two = front.replicas

    async def die(exchange: Exchange) -> None:
        exchange.writer.transport.abort()

    one.script = two.script = die
    answer = await front.client.post(
        "/v1/chat/completions", content=b"{}", headers={"accept": "text/html"}
    )

    assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "true")
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "the_answer_was_lost")
    assert "not known" in error["message"]
    assert len(one.seen) + len(two.seen) == 1


async def test_a_frozen_replica_is_left_and_its_reads_are_repeated(front: RunningFront) -> None:
    one = front.replicas[0]
    frozen = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        await frozen.wait()

    one.script, one.ready = never, None
    answers = await asyncio.gather(*(front.client.get("/") for _ in range(6)))

    assert {answer.status_code for answer in answers} == {200}


async def test_without_a_ready_replica_a_browser_gets_a_page_and_a_program_problem_details(
    front: RunningFront,
) -> None:
    for replica in front.replicas:
        replica.ready = False
    await front.until_ready(one=False, two=False)
    page, program = await asyncio.gather(
        front.client.get("/", headers={"accept": "text/html"}), front.client.get("/")
    )

    assert (page.status_code, program.status_code) == (503, 503)
    assert page.headers["retry-after"] == "2"
    assert "http-equiv" in page.text
    assert program.json()["title"] == "Not ready"


async def test_a_request_waits_for_a_replica_that_is_about_to_be_ready(
    front: RunningFront,
) -> None:
    for replica in front.replicas:
        replica.ready = False
    await front.until_ready(one=False, two=False)
    waiting = asyncio.create_task(front.client.get("/"))
    await asyncio.sleep(0)
    front.replicas[1].ready = True

    assert (await waiting).status_code == 200


async def test_a_stop_ends_streams_and_is_quick(front: RunningFront) -> None:
    async def stream(exchange: Exchange) -> None:
        await exchange.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await exchange.client_gone()

    front.replicas[0].script = front.replicas[1].script = stream
    async with front.client.stream("GET", "/events") as answer:
        chunks = answer.aiter_bytes()
        await anext(chunks)
        began = asyncio.get_running_loop().time()
        assert front.process is not None
        front.process.send_signal(signal.SIGTERM)
        assert [chunk async for chunk in chunks] == []
        code = await asyncio.wait_for(front.process.wait(), WITHIN)

    assert code == 0
    assert asyncio.get_running_loop().time() - began < 4


async def test_health_counts_what_happened(front: RunningFront) -> None:
    await front.client.get("/")
    health = await front.health()

    assert json.dumps(health["replicas"])
    assert health["requests"] == 1
    assert health["failed"] == 0
