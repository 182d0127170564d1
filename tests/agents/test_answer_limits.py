"""An answer of any size, speed or shape costs its run, never the worker."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from agents.endpoint import MeteredTransport
from agents.errors import BrokenAnswer, EndpointTimeout
from agents.metering import Budgets
from agents.tokens import byte_bound
from agents.wire import StreamReader, read_body
from tools.kit.clock import SystemClock

BUDGETS = Budgets(attempts=1, answer_bytes=10_000, answer_seconds=0.3)


class Stream(httpx2.AsyncByteStream):
    """Bytes as they come, *pause* seconds apart."""

    def __init__(self, chunk: bytes, times: int, pause: float = 0.0) -> None:
        self.chunk, self.times, self.pause, self.sent = chunk, times, pause, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.times):
            await asyncio.sleep(self.pause)
            self.sent += 1
            yield self.chunk


async def ask(
    stream: httpx2.AsyncByteStream, *, kind: str = "text/event-stream", **headers: str
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": kind, **headers}, stream=stream)

    transport = MeteredTransport(
        httpx2.MockTransport(answer),
        budgets=BUDGETS,
        count=byte_bound,
        clock=SystemClock(),
        embedded=False,
    )
    async with httpx2.AsyncClient(transport=transport) as client:
        await client.post("http://model.invalid/", json={"stream": True, "messages": []})


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_what_is_too_long_is_not_read_to_its_end(kind: str) -> None:
    stream = Stream(b"x" * 1_000, 10_000)

    with pytest.raises(BrokenAnswer, match="longer than 10,000 bytes"):
        await ask(stream, kind=kind)

    assert stream.sent == 11


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_the_limit_holds_for_what_an_answer_unpacks_to(kind: str) -> None:
    packed = gzip.compress(b" " * 5_000_000)

    with pytest.raises(BrokenAnswer, match="longer than"):
        await ask(Stream(packed, 1), kind=kind, **{"content-encoding": "gzip"})


async def test_an_answer_that_can_not_be_unpacked_is_broken() -> None:
    with pytest.raises(BrokenAnswer, match="unpacked"):
        await ask(Stream(b"\x1f\x8b no", 1), **{"content-encoding": "gzip"})


async def test_an_answer_that_drips_is_cut_off() -> None:
    stream = Stream(b": still thinking\n\n", 1_000, pause=0.05)

    with pytest.raises(EndpointTimeout, match="still answering"):
        await ask(stream)

    assert stream.sent < 20


@pytest.mark.parametrize(
    "delta",
    [
        ["content"],
        {"tool_calls": {"a": 1}},
        {"tool_calls": ["restart"]},
        {"tool_calls": [{"function": 7}]},
        {"tool_calls": [{"index": [0], "function": {}}]},
        {"tool_calls": [{"function": {"name": ["a"]}}]},
        {"tool_calls": [{"function": {"arguments": {"a": 1}}}]},
        {"tool_calls": [{"id": 5, "function": {}}]},
        {"content": "zero \x00 byte"},
        {"content": "half \ud800 a character"},
        {"tool_calls": [{"id": "\x00", "function": {}}]},
    ],
)
def test_an_answer_of_no_shape_is_broken(delta: Any) -> None:
    event = json.dumps({"choices": [{"delta": delta}]}).encode()
    whole = json.dumps({"choices": [{"message": delta}]}).encode()

    with pytest.raises(BrokenAnswer):
        StreamReader().feed(b"data: " + event + b"\n\n")
    with pytest.raises(BrokenAnswer):
        read_body(whole)


@pytest.mark.parametrize(
    "line", [b'data: {"choices": "\xff"}\n', b": \xff\n", b"event: \xed\xa0\n"]
)
def test_a_line_that_is_no_text_is_broken(line: bytes) -> None:
    with pytest.raises(BrokenAnswer, match="UTF-8"):
        StreamReader().feed(line)


def test_a_pair_of_halves_is_a_character() -> None:
    body = b'{"choices": [{"message": {"content": "\\ud83d\\ude00"}}]}'

    assert read_body(body).text == "😀"


@pytest.mark.parametrize("tokens", [10**4_290, 10**9, -1], ids=["4290 digits", "10**9", "-1"])
def test_absurd_usage_counts_as_none(tokens: int) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    body = json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage})

    assert read_body(body.encode()).tokens is None
