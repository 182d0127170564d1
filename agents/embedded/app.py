"""The embedded model as an ASGI application: `POST /v1/chat/completions` and `GET /v1/models`.

Streams and not, with tools, forced and parallel calls, JSON answers and the usage chunk. Errors are
OpenAI error JSON. Nothing here reads a clock or draws at random: the same request always gets the
same answer, and ids are digests of the conversation (see `_identity`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

import structlog

from agents.embedded.protocol import (
    MAX_REQUEST_BYTES,
    Call,
    Playbook,
    ProtocolError,
    Reply,
    Turn,
    WireRequest,
    parse_request,
    turn_of,
)
from agents.routing import RouteDecision
from tools.kit.digest import digest

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PREFIX = "embedded-"
ROUTER = "router"
ROUTE_TOOL = RouteDecision.__name__
RUN_HEADER = b"x-academy-run"
"""Header by which the endpoint names the run: it keeps call ids apart between runs."""

log = structlog.get_logger(__name__)


class Router(Protocol):
    """What decides where a message goes."""

    def decide(self, turn: Turn) -> RouteDecision:
        """The decision for the turn's last message."""
        ...


def create_app(playbooks: Mapping[str, Playbook], router: Router) -> App:
    """The application: model `embedded-router`, and `embedded-<name>` for each playbook."""

    def reply_to(request: WireRequest) -> Reply:
        role = request.model.removeprefix(PREFIX)
        turn = turn_of(request)
        if role == ROUTER and request.model.startswith(PREFIX):
            return _routed(request, router.decide(turn))
        playbook = playbooks.get(role) if request.model.startswith(PREFIX) else None
        if playbook is None:
            known = ", ".join(PREFIX + name for name in (ROUTER, *sorted(playbooks)))
            raise ProtocolError(
                404,
                f"There is no model {request.model!r}; there are {known}.",
                code="model_not_found",
                param="model",
            )
        return _checked(request, turn, playbook.reply(turn))

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path, method = scope["path"].rstrip("/"), scope["method"]
        if path == "/v1/models" and method == "GET":
            names = (ROUTER, *sorted(playbooks))
            data = [{"id": PREFIX + n, "object": "model", "owned_by": "embedded"} for n in names]
            await _json(send, 200, {"object": "list", "data": data})
            return
        try:
            if path != "/v1/chat/completions" or method != "POST":
                raise ProtocolError(
                    404, f"There is nothing at {method} {scope['path']}.", code="not_found"
                )
            request = parse_request(await _body(receive))
            reply = reply_to(request)
        except ProtocolError as error:
            await _json(send, error.status, _error(error))
            return
        except Exception as error:
            log.exception("embedded_model_failed")
            failure = ProtocolError(
                500,
                f"The playbook failed on this conversation: {type(error).__name__}: {error}",
                code="playbook_failed",
            )
            await _json(send, 500, _error(failure))
            return
        identity = _identity(request, dict(scope["headers"]).get(RUN_HEADER, b"").decode("latin-1"))
        if request.stream:
            await _stream(send, request, reply, identity)
        else:
            await _json(send, 200, _completion(request, reply, identity))

    return app


def _routed(request: WireRequest, decision: RouteDecision) -> Reply:
    """The decision as a tool call where the client offers one, else as JSON text."""
    if any(tool.function.name == ROUTE_TOOL for tool in request.tools):
        return Reply(calls=(Call(ROUTE_TOOL, decision.model_dump()),))
    return Reply(text=decision.model_dump_json())


def _checked(request: WireRequest, turn: Turn, reply: Reply) -> Reply:
    """The reply as the request allows it.

    Raises:
        ProtocolError: the playbook called a tool that isn't there, or none where one is forced.
    """
    names = {tool.name for tool in turn.tools}
    calls = reply.calls
    for call in calls:
        if call.name not in names:
            raise ProtocolError(
                500,
                f"The playbook called {call.name!r}, which this request doesn't offer.",
                code="playbook_failed",
            )
    if turn.forced is not None and (not calls or any(c.name != turn.forced for c in calls)):
        raise ProtocolError(
            500,
            f"The request forces a call of {turn.forced!r}; the playbook did not make it.",
            code="playbook_failed",
        )
    if turn.must_call and not calls:
        raise ProtocolError(
            500, "The request demands a tool call; the playbook made none.", code="playbook_failed"
        )
    if not request.parallel_tool_calls:
        calls = calls[:1]
    if not calls and not reply.text.strip():
        raise ProtocolError(500, "The playbook answered nothing.", code="playbook_failed")
    return Reply(text=reply.text, calls=calls)


def _identity(request: WireRequest, run: str) -> str:
    """A digest of the conversation, the same on a re-run and another at each turn.

    System text is left out: what is recalled into it may differ when a dead run is taken up again,
    and its tool calls must then keep their ids.
    """
    said = [
        [m.role, m.text, [[c.id, c.function.name] for c in m.tool_calls], m.tool_call_id]
        for m in request.messages
        if m.role not in ("system", "developer")
    ]
    return digest([run, request.user, request.model, said])


def _tool_calls(reply: Reply, identity: str) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for index, call in enumerate(reply.calls):
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        unique = digest([identity, index, call.name, arguments])[:24]
        calls.append(
            {
                "id": f"call_{unique}",
                "type": "function",
                "function": {"name": call.name, "arguments": arguments},
            }
        )
    return calls


def _usage(request: WireRequest, reply: Reply) -> dict[str, int]:
    """Words in and out: the embedded model has no tokens, and costs none."""
    prompt = sum(len(m.text.split()) for m in request.messages)
    written = len(reply.text.split()) + sum(
        len(json.dumps(c.arguments, ensure_ascii=False).split()) for c in reply.calls
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
    }


def _completion(request: WireRequest, reply: Reply, identity: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = _tool_calls(reply, identity)
    return {
        "id": f"chatcmpl-{identity[:24]}",
        "object": "chat.completion",
        "created": 0,
        "model": request.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "tool_calls" if reply.calls else "stop",
                "logprobs": None,
            }
        ],
        "usage": _usage(request, reply),
    }


def _chunks(request: WireRequest, reply: Reply, identity: str) -> Iterator[dict[str, Any]]:
    base = {
        "id": f"chatcmpl-{identity[:24]}",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": request.model,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(reply.text):
        yield chunk({"content": piece})
    for index, call in enumerate(_tool_calls(reply, identity)):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, "tool_calls" if reply.calls else "stop")
    options = request.stream_options
    if options is not None and options.include_usage:
        yield {**base, "choices": [], "usage": _usage(request, reply)}


def _pieces(text: str) -> Iterator[str]:
    """The text word by word, spaces and line breaks kept: the pieces join to the text."""
    start = 0
    for index in range(1, len(text)):
        if text[index].isspace() and not text[index - 1].isspace():
            yield text[start:index]
            start = index
    if text:
        yield text[start:]


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ProtocolError(400, "The client left before the request ended.", code="gone")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_REQUEST_BYTES:
            return b"".join(parts)
        if not message.get("more_body", False):
            return b"".join(parts)


def _error(error: ProtocolError) -> dict[str, Any]:
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": error.param,
            "code": error.code,
        }
    }


async def _json(send: Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _stream(send: Send, request: WireRequest, reply: Reply, identity: str) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for chunk in _chunks(request, reply, identity):
        line = f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()
        await send({"type": "http.response.body", "body": line, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})
