"""A loopback HTTP server that answers like real chat-completions providers, with their quirks.

The model's name picks the quirk (`tests/fakes/quirks.py`). The server counts the requests it got
and keeps their bodies and headers, so that a test can say how often and with what it was asked.
"""

import gzip
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.quirks import QUIRKS, WORDS, Answered, Request, failing

__all__ = ["QUIRKS", "WORDS", "Provider", "running_provider"]


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
            return failing(404, f"The model {name} does not exist.", "model_not_found")
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
            if answered.reset:
                self._reset()

        def _reset(self) -> None:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

        def _head(self, answered: Answered, kind: str, extra: dict[str, str]) -> None:
            self.send_response_only(answered.status)
            headers = {"content-type": kind, "connection": "close", **answered.headers, **extra}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


def _completion(request: Request, answered: Answered) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answered.text, **answered.extra}
    if answered.refusal is not None:
        message["refusal"] = answered.refusal
    if answered.calls:
        message["tool_calls"] = [
            {**_call_id(request, answered, n), "type": "function", "function": _function(*call)}
            for n, call in enumerate(answered.calls)
        ]
    value: dict[str, Any] = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": answered.finish}],
    }
    if answered.usage is not False:
        value["usage"] = _usage(answered)
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

    yield chunk({"role": "assistant", "content": None if answered.calls else "", **answered.extra})
    for piece in _cut(answered.text or "", answered.pieces):
        yield chunk({"content": piece})
    if answered.refusal is not None:
        yield chunk({"refusal": answered.refusal})
    for n, (name, arguments) in enumerate(answered.calls):
        index = {"index": n} if answered.indexed else {}
        first = {**index, **_call_id(request, answered, n), "type": "function"}
        yield chunk({"tool_calls": [{**first, "function": {"name": name, "arguments": ""}}]})
        for piece in _cut(arguments, answered.pieces if answered.indexed else len(arguments)):
            yield chunk({"tool_calls": [{**index, "function": {"arguments": piece}}]})
    yield chunk({}, answered.finish)
    counted = (request.get("stream_options") or {}).get("include_usage")
    if counted and answered.usage is not False:
        yield {**base, "choices": [], "usage": _usage(answered)}


def _usage(answered: Answered) -> Any:
    usual = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
    return usual if answered.usage is True else answered.usage


def _call_id(request: Request, answered: Answered, number: int) -> dict[str, str]:
    usual = f"call_{len(request['messages'])}_{number}"
    given = usual if answered.ids is None else answered.ids[number]
    return {} if given is None else {"id": given}


def _function(name: str, arguments: str) -> dict[str, str]:
    return {"name": name, "arguments": arguments}


def _cut(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), max(size, 1)):
        yield text[start : start + size]
