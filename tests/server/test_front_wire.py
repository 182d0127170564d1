"""What passes the front, byte by byte: headers, bodies, streams, and answers that are no HTTP."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.fakes.fronting import WITHIN, RunningFront, running_front
from tests.fakes.replica import Exchange

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def front() -> AsyncIterator[RunningFront]:
    async with running_front() as running:
        yield running


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
