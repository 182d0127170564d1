"""Serves an ASGI application to an httpx2 client in this process, as a stream.

Chunks arrive while the application runs, a reader that leaves early cancels it, and read timeouts
are honoured (the client library's own in-process transport does none of the three).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx2

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

QUEUE = 16
"""Chunks an application may be ahead of its reader; then it waits."""


class _Body(httpx2.AsyncByteStream):
    """The response body: drains the queue, and cancels the application when closed."""

    def __init__(self, exchange: "_Exchange") -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._exchange.next_chunk()) is not None:
            if chunk:
                yield chunk

    async def aclose(self) -> None:
        await self._exchange.close()


class _Exchange:
    """One request with the application that answers it."""

    def __init__(self, app: App, request: httpx2.Request, body: bytes) -> None:
        self._request = request
        self._timeout: float | None = request.extensions.get("timeout", {}).get("read")
        self._body: bytes | None = body
        self._queue: asyncio.Queue[Message | None] = asyncio.Queue(QUEUE)
        self._gone = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(key.lower(), value) for key, value in request.headers.raw],
            "client": None,
            "server": (request.url.host, request.url.port),
        }
        self._task = asyncio.create_task(self._run(app, scope))

    async def _run(self, app: App, scope: MutableMapping[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._queue.put)
        finally:
            if not self._gone.is_set():
                await self._queue.put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def next_message(self) -> Message | None:
        """The application's next message, or None when it returned.

        Raises:
            httpx2.ReadTimeout: nothing came within the request's read timeout.
            httpx2.RemoteProtocolError: the application failed.
        """
        try:
            message = await asyncio.wait_for(self._queue.get(), self._timeout)
        except TimeoutError as error:
            await self.close()
            raise httpx2.ReadTimeout(
                f"The embedded model sent nothing for {self._timeout} s.", request=self._request
            ) from error
        if message is None:
            await asyncio.wait({self._task})
            failure = None if self._task.cancelled() else self._task.exception()
            if failure is not None:
                raise httpx2.RemoteProtocolError(
                    f"The embedded model failed: {type(failure).__name__}: {failure}",
                    request=self._request,
                ) from failure
        return message

    async def next_chunk(self) -> bytes | None:
        """The next part of the body, or None at its end."""
        message = await self.next_message()
        return None if message is None else bytes(message.get("body", b""))

    async def close(self) -> None:
        """Cancel the application if it still runs, and wait for it to end."""
        self._gone.set()
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})


class StreamingASGITransport(httpx2.AsyncBaseTransport):
    """Runs one task of the application per request."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as soon as the application sent its status line.

        Raises:
            httpx2.ReadTimeout: it did not within the request's read timeout.
            httpx2.RemoteProtocolError: it failed or returned without an answer.
        """
        exchange = _Exchange(self._app, request, await request.aread())
        try:
            start = await exchange.next_message()
        except BaseException:
            await exchange.close()
            raise
        if start is None or start["type"] != "http.response.start":
            await exchange.close()
            raise httpx2.RemoteProtocolError(
                "The embedded model returned without an answer.", request=request
            )
        return httpx2.Response(
            start["status"], headers=list(start.get("headers", [])), stream=_Body(exchange)
        )
