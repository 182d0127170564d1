"""A loopback HTTP server that answers like real chat-completions providers, with their quirks.

The model's name picks the quirk; `QUIRKS` lists them. The server counts the requests it got and
keeps their bodies and headers, so that a test can say how often and with what it was asked.
"""

import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    usage: bool = True
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


Quirk = Callable[[Request, int], Answered]
"""From the request and how many of its model came before to the answer."""


def _error(status: int, message: str, code: str, **headers: str) -> Answered:
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


def _calling(*arguments: str, **how: Any) -> Quirk:
    """Calls the first tool, once per arguments text; after a result says `WORDS`."""

    def answer(request: Request, before: int) -> Answered:
        if _told(request):
            return Answered(text=WORDS, **how)
        calls = [(_tool(request), text) for text in arguments]
        return Answered(calls=calls, finish="tool_calls", **how)

    return answer


def _first(failure: Answered) -> Quirk:
    return lambda request, before: failure if before == 0 else Answered(text=WORDS)


def _always(answered: Answered) -> Quirk:
    return lambda request, before: answered


def _date_from_now(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


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
    "rate-limited": _first(_error(429, "Slow down.", "rate_limit", **{"retry-after": "0.05"})),
    "rate-limited-until": lambda r, n: _first(
        _error(429, "Slow down.", "rate_limit", **{"retry-after": _date_from_now(0.05)})
    )(r, n),
    "rate-limited-for-an-hour": _always(
        _error(429, "Slow down.", "rate_limit", **{"retry-after": "3600"})
    ),
    "quota": _always(_error(429, "You exceeded your quota.", "insufficient_quota")),
    "fails-once": _first(_error(500, "Oops.", "server_error")),
    "fails": _always(_error(503, "The engine is overloaded.", "overloaded")),
    "bad-gateway-page": _always(
        Answered(502, raw=b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
    ),
    "hangs-up-once": _first(Answered(hang_up=True)),
    "hangs-up": _always(Answered(hang_up=True)),
    "bad-key": _always(_error(401, "Incorrect API key provided.", "invalid_api_key")),
    "no-such-model": _always(_error(404, "The model does not exist.", "model_not_found")),
    "invalid-request": _always(_error(400, "messages: too long", "context_length_exceeded")),
    "portal-page": _always(Answered(raw=b"<html>Sign in to the network</html>")),
    "broken-json": _always(Answered(raw=b'{"id": "x", "choices": [{"message": ')),
    "other-json": _always(Answered(raw=b'{"answer": 42}')),
    "error-in-place": _always(_error(200, "Upstream model failed.", "upstream_error")),
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
}


class Provider:
    """The running server. `url` is its base URL; `requests` holds what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []
        self.stopping = threading.Event()
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Base URL, with a fresh port each time."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def start(self) -> None:
        """Serve until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and wake every waiting answer."""
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request, headers: dict[str, str]) -> Answered:
        """What the asked model does now."""
        name = str(request.get("model"))
        with self._lock:
            before = self._seen[name]
            self._seen[name] += 1
            self.requests.append(request)
            self.headers.append(headers)
        quirk = QUIRKS.get(name)
        if quirk is None:
            return _error(404, f"The model {name} does not exist.", "model_not_found")
        return quirk(request, before)


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider on a free loopback port, stopped at the end."""
    provider = Provider()
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = json.loads(body)
            answered = provider.answer(request, {k.lower(): v for k, v in self.headers.items()})
            self.close_connection = True
            if answered.hang_up or (answered.wait and provider.stopping.wait(answered.wait)):
                return
            try:
                if request.get("stream") and answered.raw is None:
                    self._stream(request, answered)
                else:
                    self._whole(request, answered)
            except (BrokenPipeError, ConnectionResetError):
                return

        def _whole(self, request: Request, answered: Answered) -> None:
            body = answered.raw
            kind = answered.content_type
            if body is None:
                body = json.dumps(_completion(request, answered)).encode()
            elif request.get("stream") and answered.status == 200:
                kind, body = "text/event-stream", b"data: " + body + b"\n\ndata: [DONE]\n\n"
            if answered.headers.get("content-encoding") == "gzip":
                body = gzip.compress(body)
            self._head(answered, kind, {"content-length": str(len(body))})
            self.wfile.write(body if answered.cut_after is None else body[: len(body) // 2])

        def _stream(self, request: Request, answered: Answered) -> None:
            self._head(answered, "text/event-stream", {})
            chunks = list(_chunks(request, answered))
            lines = [answered.events, *(b"data: " + json.dumps(c).encode() for c in chunks)]
            if answered.cut_after is not None:
                lines = lines[: answered.cut_after]
            elif answered.done:
                lines.append(b"data: [DONE]")
            ends = [line + 2 * answered.newline if line else b"" for line in lines]
            if answered.headers.get("content-encoding") == "gzip":
                self.wfile.write(gzip.compress(b"".join(ends)))
                return
            for number, line in enumerate(ends):
                self.wfile.write(line)
                self.wfile.flush()
                stalls = bool(answered.stall) and number == 2
                if stalls and provider.stopping.wait(answered.stall):
                    return

        def _head(self, answered: Answered, kind: str, extra: dict[str, str]) -> None:
            self.send_response_only(answered.status)
            headers = {"content-type": kind, "connection": "close", **answered.headers, **extra}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


def _completion(request: Request, answered: Answered) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answered.text}
    if answered.refusal is not None:
        message["refusal"] = answered.refusal
    if answered.calls:
        message["tool_calls"] = [
            {"id": _call_id(request, n), "type": "function", "function": _function(*call)}
            for n, call in enumerate(answered.calls)
        ]
    value: dict[str, Any] = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": answered.finish}],
    }
    if answered.usage:
        value["usage"] = _USAGE
    return value


def _chunks(request: Request, answered: Answered) -> Iterator[dict[str, Any]]:
    base = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": request["model"],
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": None if answered.calls else ""})
    for piece in _cut(answered.text or "", answered.pieces):
        yield chunk({"content": piece})
    if answered.refusal is not None:
        yield chunk({"refusal": answered.refusal})
    for n, (name, arguments) in enumerate(answered.calls):
        index = {"index": n} if answered.indexed else {}
        first = {**index, "id": _call_id(request, n), "type": "function"}
        yield chunk({"tool_calls": [{**first, "function": {"name": name, "arguments": ""}}]})
        for piece in _cut(arguments, answered.pieces if answered.indexed else len(arguments)):
            yield chunk({"tool_calls": [{**index, "function": {"arguments": piece}}]})
    yield chunk({}, answered.finish)
    if answered.usage and (request.get("stream_options") or {}).get("include_usage"):
        yield {**base, "choices": [], "usage": _USAGE}


_USAGE = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}


def _call_id(request: Request, number: int) -> str:
    return f"call_{len(request['messages'])}_{number}"


def _function(name: str, arguments: str) -> dict[str, str]:
    return {"name": name, "arguments": arguments}


def _cut(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), max(size, 1)):
        yield text[start : start + size]
