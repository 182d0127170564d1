"""The documented quirks of real chat-completions providers, by name.

A quirk says from a request, and how many came before, what is answered; `tests/fakes/providers.py`
serves it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

WORDS = "All three services are well."
Request = dict[str, Any]


@dataclass
class Answered:
    """One answer: a status, an answer message or raw bytes, and how it is sent."""

    status: int = 200
    text: str | None = None
    refusal: str | None = None
    calls: Sequence[tuple[str, str]] = ()
    finish: str | None = "stop"
    usage: bool | Mapping[str, Any] | None = True
    """Whether it tells usage figures, or what stands in their place."""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Sent as it is, in place of an answer message."""
    content_type: str = "application/json"
    pieces: int = 8
    """Characters of one streamed piece of text or arguments."""
    events: bytes = b""
    """Sent before the first chunk of a stream."""
    cut_after: int | None = None
    """Chunks after which a stream just ends; a whole body is cut in half."""
    done: bool = True
    newline: bytes = b"\n"
    wait: float = 0.0
    """Seconds before the first byte."""
    stall: float = 0.0
    """Seconds of silence in the middle of a stream."""
    hang_up: bool = False
    """Close the connection without an answer."""
    indexed: bool = True
    """Whether streamed tool calls carry their index."""
    ids: Sequence[str | None] | None = None
    """Ids of the tool calls where they aren't of the usual kind; None leaves one out."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Members of the answer message, or of its first delta, put in place of the usual ones."""
    reset: bool = False
    """Where it is cut off, the connection is reset rather than closed."""


Quirk = Callable[[Request, int], Answered]
"""From the request and how many of its model came before to the answer."""


def failing(status: int, message: str, code: str, **headers: str) -> Answered:
    """An error as providers word one."""
    body = {"error": {"message": message, "type": code, "param": None, "code": code}}
    return Answered(status, raw=json.dumps(body).encode(), headers=dict(headers))


def _told(request: Request) -> bool:
    """Whether the conversation has a tool result, or was told off, since the person spoke."""
    return (
        request["messages"][-1]["role"] != "user"
        or len([m for m in request["messages"] if m["role"] == "user"]) > 1
    )


def _tool(request: Request) -> str:
    tools = request.get("tools") or [{"function": {"name": "none"}}]
    return str(tools[0]["function"]["name"])


def _calling(*arguments: str, said: str | None = None, **how: Any) -> Quirk:
    """Calls the first tool, once per arguments text; after a result says `WORDS`."""

    def answer(request: Request, before: int) -> Answered:
        if _told(request):
            return Answered(text=WORDS, **{**how, "finish": "stop"})
        calls = [(_tool(request), text) for text in arguments]
        return Answered(text=said, calls=calls, **{"finish": "tool_calls", **how})

    return answer


def _first(failure: Answered) -> Quirk:
    return lambda request, before: failure if before == 0 else Answered(text=WORDS)


def _always(answered: Answered) -> Quirk:
    return lambda request, before: answered


def _date_from_now(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


SECOND_TURN = 6
"""Messages of a conversation whose tool was called twice: one answer and one result each."""
CATALOG = '{"service": "catalog"}'
PLAYER = '{"service": "player"}'
ROUTED = '{"steps": [{"specialist": "healer", "task": "how is catalog?"}]}'

QUIRKS: dict[str, Quirk] = {
    "plain": _always(Answered(text=WORDS)),
    "calls": _calling(CATALOG),
    "parallel-calls": _calling(CATALOG, PLAYER),
    "split-deltas": _calling(CATALOG, PLAYER, pieces=1),
    "no-index": _calling(CATALOG, indexed=False),
    "router": lambda r, n: Answered(calls=[("RouteDecision", ROUTED)], finish="tool_calls"),
    "router-in-words": _always(Answered(text="That one is for the healer.")),
    "router-two-answers": lambda r, n: Answered(
        calls=[("RouteDecision", '{"question": "Which?", "reply": "Hello."}')], finish="tool_calls"
    ),
    "rate-limited": _first(failing(429, "Slow down.", "rate_limit", **{"retry-after": "0.05"})),
    "rate-limited-until": lambda r, n: _first(
        failing(429, "Slow down.", "rate_limit", **{"retry-after": _date_from_now(0.05)})
    )(r, n),
    "rate-limited-for-an-hour": _always(
        failing(429, "Slow down.", "rate_limit", **{"retry-after": "3600"})
    ),
    "quota": _always(failing(429, "You exceeded your quota.", "insufficient_quota")),
    "fails-once": _first(failing(500, "Oops.", "server_error")),
    "fails": _always(failing(503, "The engine is overloaded.", "overloaded")),
    "bad-gateway-page": _always(
        Answered(502, raw=b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
    ),
    "hangs-up-once": _first(Answered(hang_up=True)),
    "hangs-up": _always(Answered(hang_up=True)),
    "bad-key": _always(failing(401, "Incorrect API key provided.", "invalid_api_key")),
    "no-such-model": _always(failing(404, "The model does not exist.", "model_not_found")),
    "invalid-request": _always(failing(400, "messages: too long", "context_length_exceeded")),
    "portal-page": _always(Answered(raw=b"<html>Sign in to the network</html>")),
    "broken-json": _always(Answered(raw=b'{"id": "x", "choices": [{"message": ')),
    "other-json": _always(Answered(raw=b'{"answer": 42}')),
    "error-in-place": _always(failing(200, "Upstream model failed.", "upstream_error")),
    "no-choices": _always(Answered(raw=b'{"id": "x", "object": "chat.completion", "choices": []}')),
    "empty": _always(Answered(text="")),
    "null-content": _always(Answered(text=None)),
    "refusal": _always(Answered(refusal="I can't help with that.")),
    "content-filter": _always(Answered(text="", finish="content_filter")),
    "length": _always(Answered(text="All three serv", finish="length")),
    "length-in-call": lambda r, n: Answered(
        calls=[(_tool(r), '{"service": "cat')], finish="length"
    ),
    "cut-off": _always(Answered(text=WORDS, cut_after=3)),
    "stalls": _always(Answered(text=WORDS, stall=5.0)),
    "no-done": _always(Answered(text=WORDS, done=False)),
    "no-usage": _always(Answered(text=WORDS, usage=False)),
    "comments": _always(Answered(text=WORDS, events=b": keep-alive")),
    "carriage-returns": _always(Answered(text=WORDS, newline=b"\r\n")),
    "gzip": _always(Answered(text=WORDS, headers={"content-encoding": "gzip"})),
    "unknown-tool": lambda r, n: Answered(calls=[("launch", "{}")], finish="tool_calls"),
    "unknown-tool-once": lambda r, n: (
        Answered(text=WORDS)
        if _told(r)
        else Answered(calls=[("launch", "{}")], finish="tool_calls")
    ),
    "malformed-arguments": lambda r, n: Answered(
        calls=[(_tool(r), '{"service": ')], finish="tool_calls"
    ),
    "malformed-arguments-once": _calling('{"service": '),
    "wrong-arguments": lambda r, n: Answered(
        calls=[(_tool(r), '{"servce": 7}')], finish="tool_calls"
    ),
    "loop": lambda r, n: Answered(
        calls=[(_tool(r), json.dumps({"service": f"s{n}"}))], finish="tool_calls"
    ),
    "slow": _always(Answered(text=WORDS, wait=5.0)),
    "repeated-ids": _calling(CATALOG, PLAYER, ids=("call_0", "call_0")),
    "same-id-each-turn": lambda r, n: (
        Answered(calls=[(_tool(r), CATALOG)], finish="tool_calls", ids=("call_0",))
        if len(r["messages"]) < SECOND_TURN
        else Answered(text=WORDS)
    ),
    "no-ids": _calling(CATALOG, PLAYER, ids=(None, None)),
    "blank-ids": _calling(CATALOG, PLAYER, ids=("", "")),
    "stop-with-calls": _calling(CATALOG, finish="stop"),
    "arguments-as-object": lambda r, n: Answered(
        finish="tool_calls",
        extra={
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_0",
                    "type": "function",
                    "function": {"name": _tool(r), "arguments": {"service": "catalog"}},
                }
            ]
        },
    ),
    "legacy-function-call": lambda r, n: Answered(
        finish="function_call",
        extra={"function_call": {"name": _tool(r), "arguments": CATALOG}},
    ),
    "words-and-call": _calling(CATALOG, said="Let me look."),
    "reasoning": _always(Answered(text=WORDS, extra={"reasoning_content": "I look first."})),
    "unknown-finish": _always(Answered(text="All three serv", finish="insufficient_resource")),
    "error-finish": _always(Answered(text="All three serv", finish="error")),
    "no-finish": _always(Answered(text=WORDS, finish=None)),
    "null-usage": _always(Answered(text=WORDS, usage=None)),
    "odd-usage": _always(Answered(text=WORDS, usage={"prompt_tokens": "20"})),
    "empty-body": _always(Answered(raw=b"")),
    "no-content": _always(Answered(204, raw=b"")),
    "redirect": _always(Answered(307, raw=b"", headers={"location": "http://127.0.0.1:9/v1"})),
    "list-in-place": _always(Answered(raw=b"[1, 2, 3]")),
    "null-choices": _always(Answered(raw=b'{"id": "x", "choices": null}')),
    "null-message": _always(Answered(raw=b'{"id": "x", "choices": [{"index": 0}]}')),
    "odd-bytes": _always(
        Answered(raw=b'{"choices": [{"index": 0, "message": {"content": "\xff\xfe"}}]}')
    ),
    "broken-gzip": _always(
        Answered(raw=b'{"choices": []}', headers={"content-encoding": "deflate"})
    ),
    "overloaded-once": _first(failing(529, "Overloaded.", "overloaded", **{"retry-after": "0.05"})),
    "reset": _always(Answered(text=WORDS, cut_after=3, reset=True)),
    "cut-in-call": _calling(CATALOG, cut_after=3),
}
