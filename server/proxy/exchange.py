"""One request on its way through: read from the client, sent to a replica, answered as it comes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from server.proxy.answers import answer
from server.proxy.wire import Broken, Connection, Head, Headers

MOST_BODY_BYTES = 64 * 1024 * 1024
MOST_HEADER_BYTES = 32 * 1024
HEAD_SECONDS = 60.0
"""How long a replica may take until its answer begins; an answer itself may last for ever."""
WATCH_AFTER_SECONDS = 0.25
"""A request that takes longer is watched for a client that leaves."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1; what the `connection` header names goes too."""
FRAMING = frozenset({b"content-length", b"host"})
"""Never dropped because `connection` names them: the next hop would read another message."""
NOT_FROM_CLIENTS = frozenset({b"forwarded", b"x-real-ip", b"expect"})
"""Dropped from requests beside `x-forwarded-*`: who asks and how is ours to say."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientLeft(Exception):
    """The client ended its connection before the answer was complete."""


class TooLarge(Exception):
    """The request passes a limit; *status* says which: 413 its body, 431 its headers."""

    def __init__(self, status: int = 413) -> None:
        body = f"A request may carry at most {MOST_BODY_BYTES // 1024**2} MB."
        headers = f"A request's headers may take at most {MOST_HEADER_BYTES // 1024} KB."
        super().__init__(body if status == 413 else headers)
        self.status = status


class Request:
    """One request of a client, and what has been done with it so far."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._method: str = scope["method"]
        self._first = b""
        self._body_read = asyncio.Event()
        self._chunked = False
        """The body's length isn't known yet: it goes on in chunks."""
        self._whole = False
        """All of a body without a declared length is here."""
        self._seen = 0
        self._left = False
        self.sent = False
        """Whether a replica may have seen it."""
        self.answering = False
        """Whether the answer has begun to go to the client."""

    @property
    def safe(self) -> bool:
        """Whether its method promises to change nothing."""
        return self._method in SAFE_METHODS

    @property
    def repeatable(self) -> bool:
        """Whether another replica may be asked: no effect can have happened, all of it is here."""
        return not self.sent or (self.safe and self._seen == len(self._first))

    async def read_first(self) -> None:
        """Take what the client has sent of the body so far.

        Raises:
            TooLarge: the headers, or the length they declare, pass the limit.
            ClientLeft: it is gone already.
        """
        headers: Headers = self._scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > MOST_HEADER_BYTES:
            raise TooLarge(431)
        for name, value in headers:
            if name == b"content-length" and (not value.isdigit() or int(value) > MOST_BODY_BYTES):
                raise TooLarge
        names = {name for name, _ in headers}
        more = False
        if not names.isdisjoint((b"content-length", b"transfer-encoding")):
            self._first, more = await self._read()
        if more:
            self._chunked = b"content-length" not in names
        else:
            self._whole = b"content-length" not in names
            self._body_read.set()

    async def send_to(self, connection: Connection) -> Head:
        """Send the request over *connection* and wait for the head of the answer.

        Raises:
            Broken: the connection ended.
            TimeoutError: no answer within `HEAD_SECONDS`.
            TooLarge: the body turned out to pass the limit.
            ClientLeft: the client went away meanwhile.
        """
        answer_head = connection.begin(
            self._head_bytes() + self._piece(self._first), no_body=self._method == "HEAD"
        )
        self.sent = True
        try:
            if not self._body_read.is_set():
                await self._send_rest(connection, answer_head)
            async with asyncio.timeout(HEAD_SECONDS):
                return await answer_head
        except Broken:
            if self._left:
                raise ClientLeft from None
            raise

    async def answer_with(self, head: Head, connection: Connection) -> None:
        """Pass the answer on as it comes.

        Raises:
            Broken: it ended too early.
            ClientLeft: nobody reads it any more.
        """
        self.answering = True
        await self._start(head.status, _end_to_end(head.headers))
        more = True
        while more:
            try:
                data, more = await connection.read()
            except Broken:
                if self._left:
                    raise ClientLeft from None
                raise
            await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def refuse(self, status: int, detail: str) -> None:
        """Answer in the front's own words."""
        accept = next((v for n, v in self._scope["headers"] if n == b"accept"), b"")
        headers, body = answer(
            status,
            detail,
            wants_page=b"text/html" in accept,
            path=self._scope["path"],
            safe=self.safe,
        )
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def end(self) -> None:
        """End an answer that lasts for ever, such as a stream of events."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def watch(self, connection: Connection) -> asyncio.Task[None]:
        """End *connection* when the client leaves, so that the replica notices too."""
        return asyncio.create_task(self._watch(connection))

    async def _watch(self, connection: Connection) -> None:
        await asyncio.sleep(WATCH_AFTER_SECONDS)
        await self._body_read.wait()  # until then its reader is told of a client that leaves
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        connection.close()

    async def _send_rest(self, connection: Connection, answer_head: asyncio.Future[Head]) -> None:
        """Stream the rest of the body, unless the replica answers before it has all of it."""
        more = True
        while more:
            reading = asyncio.create_task(self._read())
            waiting: set[asyncio.Future[Any]] = {reading, answer_head}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading
                break
            data, more = await reading
            await connection.write(self._piece(data))
        if not more and self._chunked:
            await connection.write(b"0\r\n\r\n")
        self._body_read.set()

    async def _read(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._left = True
            raise ClientLeft
        data: bytes = message.get("body", b"")
        self._seen += len(data)
        if self._seen > MOST_BODY_BYTES:
            raise TooLarge
        return data, bool(message.get("more_body", False))

    async def _start(self, status: int, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _head_bytes(self) -> bytes:
        scope = self._scope
        target: bytes = scope["raw_path"]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        lines = [self._method.encode() + b" " + target + b" HTTP/1.1"]
        for name, value in _end_to_end(scope["headers"]):
            if name not in NOT_FROM_CLIENTS and not name.startswith(b"x-forwarded-"):
                lines.append(name + b": " + value)
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        elif self._whole and self._first:
            lines.append(b"content-length: %d" % len(self._first))
        client = scope.get("client")
        lines.append(b"x-forwarded-for: " + (client[0].encode() if client else b"unknown"))
        lines.append(b"x-forwarded-proto: " + scope["scheme"].encode())
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _piece(self, data: bytes) -> bytes:
        if not self._chunked or not data:
            return data
        return b"%x\r\n%b\r\n" % (len(data), data)


def _end_to_end(headers: Headers) -> Headers:
    """The headers that are meant for the other end, not for this hop."""
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(token.strip() for token in value.lower().split(b","))
    named -= FRAMING
    return [(n, v) for n, v in headers if n not in HOP_BY_HOP and n not in named]
