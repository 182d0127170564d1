"""The front between real clients and replicas that are scripted byte by byte."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.fakes.replica import Exchange, ScriptedReplica

pytestmark = pytest.mark.timeout(90)

WITHIN = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningFront:
    """The front as a process of its own, before two scripted replicas."""

    def __init__(self, replicas: list[ScriptedReplica]) -> None:
        self.replicas = replicas
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None
        self.client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=WITHIN)

    async def start(self) -> None:
        upstreams = [
            w for r in self.replicas for w in ("--upstream", f"{r.name}=127.0.0.1:{r.port}")
        ]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.front", "--port", str(self.port), *upstreams
        )
        await self.until(lambda health: health["ready"])

    async def health(self) -> dict[str, Any]:
        answer = await self.client.get("/front/healthz")
        found: dict[str, Any] = answer.json()
        return found

    async def until(self, holds: Any) -> None:
        """Wait until the front's own health says what *holds* looks for."""
        async with asyncio.timeout(WITHIN):
            while True:
                try:
                    if holds(await self.health()):
                        return
                except httpx2.TransportError:
                    pass
                await asyncio.sleep(0.02)

    async def until_ready(self, **expected: bool) -> None:
        await self.until(
            lambda health: all(
                each["ready"] is expected[each["name"]]
                for each in health["replicas"]
                if each["name"] in expected
            )
        )

    async def stop(self) -> int:
        await self.client.aclose()
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), WITHIN)


@pytest.fixture
async def front() -> AsyncIterator[RunningFront]:
    replicas = [await ScriptedReplica("one").start(), await ScriptedReplica("two").start()]
    running = RunningFront(replicas)
    await running.start()
    await running.until_ready(one=True, two=True)
    yield running
    await running.stop()
    for replica in replicas:
        await replica.stop()


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


async def test_who_asks_is_said_by_the_front_alone(front: RunningFront) -> None:
    await front.client.get(
        "/a%2Fb?x=1&y=%20",
        headers={
            "x-forwarded-for": "6.6.6.6",
            "x-forwarded-proto": "https",
            "x-forwarded-host": "evil",
            "forwarded": "for=6.6.6.6",
            "connection": "keep-alive, x-private",
            "x-private": "1",
            "x-kept": "yes",
            "host": "dynasty.localhost:8400",
            "te": "trailers",
        },
    )
    (seen,) = [*front.replicas[0].seen, *front.replicas[1].seen]

    assert seen.path == "/a%2Fb?x=1&y=%20"
    assert seen.headers["x-forwarded-for"] == "127.0.0.1"
    assert seen.headers["x-forwarded-proto"] == "http"
    assert seen.headers["host"] == "dynasty.localhost:8400"
    assert seen.headers["x-kept"] == "yes"
    assert not {"x-forwarded-host", "forwarded", "x-private", "te", "connection"} & set(
        seen.headers
    )


async def test_the_connection_header_cannot_take_the_length_away(front: RunningFront) -> None:
    await front.client.post(
        "/", content=b"hello", headers={"connection": "content-length, host, keep-alive"}
    )
    (seen,) = [*front.replicas[0].seen, *front.replicas[1].seen]

    assert seen.body == b"hello"
    assert "host" in seen.headers


@pytest.mark.parametrize("pieces", [[b"hello"], [b"a" * 70_000, b"b" * 70_000], [b"", b"x"]])
async def test_a_body_of_unknown_length_arrives_whole(
    front: RunningFront, pieces: list[bytes]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    await front.client.post("/", content=body())
    (seen,) = [*front.replicas[0].seen, *front.replicas[1].seen]

    assert seen.body == b"".join(pieces)


async def test_a_large_body_and_a_large_answer_arrive_whole(front: RunningFront) -> None:
    body = bytes(range(256)) * 20_000

    async def echo(exchange: Exchange) -> None:
        await exchange.answer(exchange.body)

    front.replicas[0].script = front.replicas[1].script = echo

    assert (await front.client.post("/", content=body)).content == body


async def test_events_pass_as_they_come(front: RunningFront) -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def stream(exchange: Exchange) -> None:
        await exchange.say(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for number, gate in enumerate(gates):
            await gate.wait()
            event = f"data: {number}\n\n".encode()
            await exchange.say(b"%x\r\n%b\r\n" % (len(event), event))
        await exchange.say(b"0\r\n\r\n")

    front.replicas[0].script = front.replicas[1].script = stream
    seen = []
    async with front.client.stream("GET", "/events") as answer:
        lines = answer.aiter_lines()
        for number, gate in enumerate(gates):
            gate.set()  # the next event is sent only once the one before has been read
            seen.append(await anext(lines))
            await anext(lines)
            assert seen[-1] == f"data: {number}"


async def test_a_replica_notices_when_the_reader_of_a_stream_leaves(front: RunningFront) -> None:
    gone = asyncio.Event()

    async def stream(exchange: Exchange) -> None:
        await exchange.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await exchange.client_gone()
        gone.set()

    front.replicas[0].script = front.replicas[1].script = stream
    async with front.client.stream("GET", "/events") as answer:
        await anext(answer.aiter_bytes())

    async with asyncio.timeout(WITHIN):
        await gone.wait()
    await front.until(lambda health: all(r["in_flight"] == 0 for r in health["replicas"]))


async def test_an_answer_that_breaks_in_the_middle_never_looks_complete(
    front: RunningFront,
) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        exchange.writer.transport.abort()

    front.replicas[0].script = front.replicas[1].script = break_off

    with pytest.raises(httpx2.TransportError):
        await front.client.get("/")


async def test_a_stream_that_breaks_in_the_middle_never_looks_complete(
    front: RunningFront,
) -> None:
    async def break_off(exchange: Exchange) -> None:
        await exchange.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        exchange.writer.transport.abort()

    front.replicas[0].script = front.replicas[1].script = break_off

    with pytest.raises(httpx2.TransportError):
        await front.client.get("/")


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
    ],
    ids=["no HTTP", "two lengths", "negative", "unknown coding", "bad header", "endless head"],
)
async def test_an_answer_that_is_no_http_is_a_502(front: RunningFront, answer: bytes) -> None:
    async def say(exchange: Exchange) -> None:
        await exchange.say(answer)

    front.replicas[0].script = front.replicas[1].script = say

    assert (await front.client.post("/", content=b"x")).status_code == 502


async def test_interim_answers_and_head_and_no_content_are_understood(
    front: RunningFront,
) -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.path == "/early-hints":
            await exchange.say(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
            await exchange.answer(b"after")
        elif exchange.path == "/none":
            await exchange.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")

    front.replicas[0].script = front.replicas[1].script = script

    assert (await front.client.get("/early-hints")).text == "after"
    assert (await front.client.get("/none")).status_code == 204
    assert (await front.client.head("/head")).headers["content-length"] == "1000"
    assert (await front.client.get("/none")).status_code == 204


async def test_a_replica_may_answer_before_it_has_read_the_body(front: RunningFront) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"too much", status=413)

    front.replicas[0].script = front.replicas[1].script = refuse
    sent = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"a" * 10
        await sent.wait()
        yield b"b" * 10

    asking = asyncio.create_task(
        front.client.post("/early", content=body(), headers={"content-length": "20"})
    )
    await front.until(lambda _: any(r.seen for r in front.replicas))
    await asyncio.sleep(0.1)
    sent.set()

    assert (await asking).status_code == 413


async def test_a_body_over_the_limit_is_refused_before_any_replica_sees_it(
    front: RunningFront,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
    status = await asyncio.wait_for(reader.readline(), WITHIN)
    writer.close()

    assert b" 413 " in status
    assert front.replicas[0].seen == front.replicas[1].seen == []


async def test_headers_over_the_limit_are_refused(front: RunningFront) -> None:
    answer = await front.client.get("/", headers={"x-long": "y" * 100_000})

    assert answer.status_code == 431


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
