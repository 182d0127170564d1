"""Judges answers as they pass, books them to their run, and cuts off what is too long.

What goes through here is the bytes of an endpoint nobody vouches for: their size, their time and
their shape have limits (`agents/metering.py`).
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2

from agents.errors import BrokenAnswer, EndpointTimeout, ModelError
from agents.metering import Budgets, RunMeter
from agents.tokens import PER_MESSAGE, TokenCounter
from agents.wire import Answer, StreamReader


@dataclass
class Check:
    """Judges one answer and books it to its run."""

    meter: RunMeter
    sent_tokens: int
    tools: list[str]
    count: TokenCounter
    booked: bool = False

    def book(self, answer: Answer) -> None:
        """Count *answer* towards its run, once.

        Raises:
            ModelError: what it holds can't be used.
        """
        if self.booked:
            return
        self.booked = True
        findings: tuple[ModelError, ...] = ()
        try:
            findings = answer.judge(self.tools)
        finally:
            said = answer.text + "".join(c.name + c.arguments for c in answer.calls.values())
            guessed = self.sent_tokens, PER_MESSAGE + self.count(said)
            tokens = guessed if answer.tokens is None else answer.tokens
            self.meter.end_call(
                sent=tokens[0],
                said=tokens[1],
                reported=answer.tokens is not None,
                calls=answer.called,
                findings=findings,
            )


class CheckedStream(httpx2.AsyncByteStream):
    """Passes a stream on while reading it; books what was said even when the reader leaves.

    A stream that goes on for longer, or holds more, than one answer may is cut off.
    """

    def __init__(self, response: httpx2.Response, check: Check, budgets: Budgets) -> None:
        self._response = response
        self._check = check
        self._budgets = budgets
        self._deadline = asyncio.get_running_loop().time() + budgets.answer_seconds
        self._reader = StreamReader()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        chunks = self._response.aiter_bytes()
        try:
            while (data := await self._next(chunks)) is not None:
                seen += len(data)
                _require_size(seen, self._budgets.answer_bytes)
                self._reader.feed(data)
                if self._reader.done:
                    self._check.book(self._reader.end())
                yield data
        except httpx2.DecodingError as error:
            raise BrokenAnswer("The model's answer can't be unpacked.") from error
        except httpx2.TimeoutException as error:
            raise EndpointTimeout("The model stopped in the middle of its answer.") from error
        except httpx2.TransportError as error:
            raise BrokenAnswer(
                f"The model's answer broke off in the middle ({words_of(error)})."
            ) from error
        self._check.book(self._reader.end())

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await anext(chunks, None)
        except TimeoutError as error:
            raise EndpointTimeout(
                f"The model was still answering after {self._budgets.answer_seconds:.0f} s. "
                "Ask for less at once."
            ) from error

    async def aclose(self) -> None:
        """Close the connection; what was said until then is booked."""
        await self._response.aclose()
        if not self._check.booked:
            self._check.booked = True
            said = self._check.count(self._reader.answer.text)
            self._check.meter.end_call(
                sent=self._check.sent_tokens, said=said, reported=False, calls=(), findings=()
            )


async def read_whole(response: httpx2.Response, most: int) -> httpx2.Response:
    """*response* with its body read and unpacked, at most *most* bytes of it.

    Raises:
        BrokenAnswer: it is longer, or can't be unpacked.
    """
    body = bytearray()
    try:
        async for data in response.aiter_bytes():
            body += data
            _require_size(len(body), most)
    except httpx2.DecodingError as error:
        raise BrokenAnswer("The model's answer can't be unpacked.") from error
    finally:
        await response.aclose()
    return httpx2.Response(
        response.status_code,
        headers=decoded(response.headers),
        content=bytes(body),
        extensions=response.extensions,
    )


def _require_size(size: int, most: int) -> None:
    if size > most:
        raise BrokenAnswer(
            f"The model's answer is longer than {most:,} bytes; the rest of it was not read."
        )


def decoded(headers: httpx2.Headers) -> httpx2.Headers:
    """Headers of a body that has been decompressed while it was read."""
    kept = httpx2.Headers(headers)
    for name in ("content-encoding", "content-length"):
        kept.pop(name, None)
    return kept


def words_of(error: Exception) -> str:
    """What *error* says, or what it is where it says nothing."""
    return str(error) or type(error).__name__
