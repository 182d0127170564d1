"""How a model of an attack speaks: chat completions, whole or streamed, or bytes that are neither.

A move makes a `Reply`; the application sends it. What a well-formed answer needs (ids, roles, end
marks) is added here, so that a move is only what is odd about it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """One request as the model sees it."""

    model: str
    words: str
    """The newest message of the person."""
    heard: tuple[str, ...]
    """What tools have answered since, oldest first."""
    tools: tuple[str, ...]
    messages: tuple[MutableMapping[str, Any], ...]

    @property
    def routing(self) -> bool:
        """Whether the router is asked, and not a specialist."""
        return "RouteDecision" in self.tools


@dataclass(frozen=True)
class Call:
    """One tool call; *arguments* are sent as they are, a JSON text or not."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True)
class Reply:
    """One answer: words and calls, or *raw* bytes in place of all of it."""

    text: str = ""
    calls: Sequence[Call] = ()
    finish: Any = None
    more: MutableMapping[str, Any] = field(default_factory=dict)
    """Further fields of the message."""
    usage: Any = None
    pieces: int = 1
    """Deltas the words are cut into, where they are streamed."""
    raw: Callable[[], Iterator[bytes]] | None = None
    pause: float = 0.0
    """Seconds before each chunk of *raw*."""
    status: int = 200
    content_type: str = "text/event-stream"
    headers: Sequence[tuple[str, str]] = ()
    silent: float = 0.0
    """Seconds before anything is sent at all."""
    breaks_off: bool = False
    """The connection is torn after what was sent."""


def call(name: str, call_id: str = "", /, **arguments: Any) -> Call:
    """A call with arguments that are JSON."""
    return Call(name, json.dumps(arguments), call_id)


def read_request(body: bytes) -> tuple[Asked, bool]:
    """What is asked, and whether the answer shall stream."""
    sent = json.loads(body)
    messages = tuple(sent.get("messages", ()))
    last = max((i for i, one in enumerate(messages) if one["role"] == "user"), default=0)
    asked = Asked(
        model=str(sent.get("model", "")),
        words=text_of(messages[last]) if messages else "",
        heard=tuple(text_of(m) for m in messages[last:] if m["role"] == "tool"),
        tools=tuple(t["function"]["name"] for t in sent.get("tools") or ()),
        messages=messages,
    )
    return asked, bool(sent.get("stream"))


def text_of(message: MutableMapping[str, Any]) -> str:
    """The words of one message."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content if isinstance(content, str) else ""


def create_app(
    answer: Callable[[Asked], Reply],
) -> Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]:
    """An ASGI application whose chat completions are what *answer* says."""

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if not body:
            await _send(send, Reply(raw=lambda: iter([b"ready"]), content_type="text/plain"))
            return
        asked, streams = read_request(body)
        await _send(send, answer(asked), streams=streams)

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _send(send: Send, reply: Reply, *, streams: bool = True) -> None:
    if reply.silent:
        await asyncio.sleep(reply.silent)
    kind = reply.content_type if reply.raw or streams else "application/json"
    headers = [(b"content-type", kind.encode())]
    headers += [(name.encode(), value.encode()) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    async for chunk in _chunks(reply, streams=streams):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if reply.breaks_off:
        raise ConnectionAbortedError("the model leaves in the middle, as it was told to")
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _chunks(reply: Reply, *, streams: bool) -> AsyncIterator[bytes]:
    if reply.raw is not None:
        for chunk in reply.raw():
            if reply.pause:
                await asyncio.sleep(reply.pause)
            yield chunk
        return
    if not streams:
        yield _dump(whole(reply))
        return
    for value in deltas(reply):
        yield event(value)
    yield b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + _dump(value) + b"\n\n"


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def whole(reply: Reply) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, **reply.more}
    if reply.calls:
        message["tool_calls"] = [_call(one, n) for n, one in enumerate(reply.calls)]
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    return {**_head("chat.completion"), "choices": [choice], "usage": reply.usage or USAGE}


def deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    """The chunks of an answer that is streamed."""
    yield chunk({"role": "assistant", "content": "", **reply.more})
    size = max(1, -(-len(reply.text) // reply.pieces))
    for begin in range(0, len(reply.text), size):
        yield chunk({"content": reply.text[begin : begin + size]})
    for number, one in enumerate(reply.calls):
        yield chunk({"tool_calls": [{"index": number, **_call(one, number)}]})
    yield chunk({}, _finish(reply))
    yield {**_head("chat.completion.chunk"), "choices": [], "usage": reply.usage or USAGE}


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chunk(delta: Any, finish: Any = None) -> dict[str, Any]:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_head("chat.completion.chunk"), "choices": [choice]}


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "attack"}


def _call(one: Call, number: int) -> dict[str, Any]:
    return {
        "id": one.id or f"call_{number}",
        "type": "function",
        "function": {"name": one.name, "arguments": one.arguments},
    }


def _finish(reply: Reply) -> Any:
    return reply.finish or ("tool_calls" if reply.calls else "stop")
