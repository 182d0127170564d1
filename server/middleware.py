"""What every request passes: an id, a log line, security headers, a size limit and metrics.

All of it is plain ASGI, so that a stream passes through untouched, chunk by chunk.
"""

import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.metrics import Metrics
from server.openai_errors import PATH as OPENAI_PATH
from server.openai_errors import error_response
from server.problems import problem_response

log = structlog.get_logger("server.access")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""Nothing inline, nothing from elsewhere: scripts and styles come from this origin's files."""

SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

MAX_BODY_BYTES = 256 * 1024
"""Largest request body: a message of 10,000 letters with room to spare; nothing uploads files."""
MAX_CONVERSATION_BYTES = 1024 * 1024
"""The same where clients send a whole conversation with every message."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


OnUnexpected = Callable[[Request, Exception], Awaitable[Response]]


class RequestContext:
    """Gives each request an id, answers it in `x-request-id`, and logs one line when it ends.

    An id handed over by the proxy in front is kept where it looks like one. An error that nothing
    below has answered is answered by *on_unexpected* here, so that even that carries the headers.
    """

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, replica: str, on_unexpected: OnUnexpected
    ) -> None:
        self.app = app
        self.on_unexpected = on_unexpected
        self.metrics = metrics
        self.replica = replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request inside its own logging context."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-replica"] = self.replica
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            if status:
                raise  # half an answer is out: only closing the connection tells the client
            answer = await self.on_unexpected(Request(scope), error)
            await answer(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            route = route_template(scope)
            self.metrics.observe(scope["method"], route, status, seconds)
            if route not in QUIET_ROUTES:
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round(seconds * 1000, 1),
                )
            structlog.contextvars.unbind_contextvars("request_id")


QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/static/{path:path}"})
"""Asked several times a second by probes; a log line each would hide the others."""


def route_template(scope: MutableMapping[str, Any]) -> str:
    """The matched route's template, such as `/incidents/{incident_id}`; `unmatched` for none."""
    route = scope.get("route")
    return str(getattr(route, "path", "")) or "unmatched"


class BodyLimit:
    """Refuses a body over the path's limit with 413, whether announced or streamed."""

    def __init__(self, app: ASGIApp, *, limit: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    def limit_of(self, path: str) -> int:
        """Bytes a body sent to *path* may have."""
        return MAX_CONVERSATION_BYTES if path.startswith(OPENAI_PATH) else self.limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, counting what arrives of its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit_of(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > limit:
            await self._refuse(scope, receive, send)
            return
        received = 0
        started = False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise BodyTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except BodyTooLarge:
            if started:
                raise
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        detail = f"The request body is larger than {self.limit_of(path) // 1024} KiB; send less."
        if path.startswith(OPENAI_PATH):
            response = error_response(413, detail, code="invalid")
        else:
            response = problem_response(413, detail, kind="invalid", instance=path)
        await response(scope, receive, send)


class BodyTooLarge(Exception):
    """The body passed the limit while it was being read."""
