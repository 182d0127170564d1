"""The in-process transport streams, cancels and times out as a network would."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx2
import pytest

from agents.embedded.transport import QUEUE, Receive, Send, StreamingASGITransport


class Slow:
    """Sends its head, then words until cancelled; says where it stands."""

    def __init__(self, *, words: int = 1000, head_waits: bool = False) -> None:
        self.sent = 0
        self.words = words
        self.head_waits = head_waits
        self.go_on = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            await receive()
            if self.head_waits:
                await self.go_on.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(self.words):
                await send({"type": "http.response.body", "body": b"word ", "more_body": True})
                self.sent += 1
            await self.go_on.wait()
            await send({"type": "http.response.body", "body": b"end", "more_body": False})
        finally:
            self.ended.set()


def client(app: Any, timeout: float = 5.0) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=StreamingASGITransport(app), base_url="http://e.invalid", timeout=timeout
    )


async def test_the_first_words_arrive_while_the_application_still_runs() -> None:
    app = Slow(words=1)
    async with client(app) as http, http.stream("POST", "/") as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"word "
        assert not app.ended.is_set()
        app.go_on.set()
        assert [chunk async for chunk in chunks] == [b"end"]
    assert app.ended.is_set()


async def test_an_application_ahead_of_its_reader_waits() -> None:
    app = Slow()
    async with client(app) as http, http.stream("POST", "/") as answer:
        await anext(answer.aiter_raw())
        for _ in range(200):
            await asyncio.sleep(0)
        assert app.sent <= QUEUE + 2


async def test_a_reader_that_leaves_early_cancels_the_application() -> None:
    app = Slow()
    async with client(app) as http, http.stream("POST", "/") as answer:
        await anext(answer.aiter_raw())
    assert app.ended.is_set()
    assert app.sent < 1000


@pytest.mark.parametrize("head_waits", [True, False])
async def test_the_read_timeout_is_honoured_before_and_within_an_answer(
    head_waits: bool,
) -> None:
    app = Slow(words=1, head_waits=head_waits)
    async with client(app, timeout=0.1) as http:
        with pytest.raises(httpx2.ReadTimeout, match=r"0\.1 s"):
            await http.post("/")
    assert app.ended.is_set()


async def test_a_cancelled_request_cancels_the_application() -> None:
    app = Slow(head_waits=True)
    async with client(app) as http:
        request = asyncio.create_task(http.post("/"))
        while not app.go_on.is_set() and app.sent == 0 and not request.done():
            await asyncio.sleep(0)
            if len(asyncio.all_tasks()) > 2:
                break
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    for _ in range(20):
        await asyncio.sleep(0)
    assert all(t.done() or t is asyncio.current_task() for t in asyncio.all_tasks())


async def test_an_application_that_fails_is_a_protocol_error() -> None:
    async def failing(scope: Any, receive: Receive, send: Send) -> None:
        raise RuntimeError("boom")

    async def silent(scope: Any, receive: Receive, send: Send) -> None:
        return

    async def halfway(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise RuntimeError("boom")

    for app, says in ((failing, "boom"), (silent, "without an answer"), (halfway, "boom")):
        async with client(app) as http:
            with pytest.raises(httpx2.RemoteProtocolError, match=says):
                await http.post("/")
