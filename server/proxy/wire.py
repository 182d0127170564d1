"""One HTTP/1.1 connection to a replica: writes a request, reads the answer as it comes.

Strict about framing, because a wrong guess about where an answer ends would hand its rest to
somebody else: what can't be read exactly breaks the connection.
"""

import asyncio
from typing import NamedTuple, cast

MOST_HEAD_BYTES = 64 * 1024
READ_AHEAD_BYTES = 256 * 1024
"""How much of an answer is held for a client that reads slowly; then the replica has to wait."""

Headers = list[tuple[bytes, bytes]]


class Broken(Exception):
    """The connection ended or said something that is no HTTP before the answer was complete."""


class Head(NamedTuple):
    """Status and headers of an answer; header names are lower case."""

    status: int
    headers: Headers


class Connection(asyncio.Protocol):
    """A connection that carries one exchange at a time and can be used again after each."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: asyncio.Future[Head] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._paused = False
        self._parts: list[bytes] = []
        self._held = 0
        self._left: int | None = 0
        """Bytes of the body (or chunk) to come; None: until the connection ends."""
        self._chunked = False
        self._in_trailer = False
        self._complete = True
        self._error: Broken | None = None
        self._no_body = False
        self._keep = True
        self.idle_since = 0.0

    # What the front calls

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow the one that is complete."""
        return (
            self._complete
            and self._keep
            and self._error is None
            and not self._buffer
            and self._transport is not None
            and not self._transport.is_closing()
        )

    @property
    def answered(self) -> bool:
        """Whether the head of the answer has come."""
        return self._head is not None and self._head.done()

    def begin(self, request: bytes, *, no_body: bool) -> asyncio.Future[Head]:
        """Send the first bytes of a request; the head of the answer comes in the future.

        *no_body* says that the answer carries none whatever its headers say (HEAD).
        """
        self._head = self._loop.create_future()
        self._complete = False
        self._no_body = no_body
        if self._error is not None or self._transport is None:
            self._head.set_exception(self._error or Broken("never connected"))
        else:
            self._transport.write(request)
        return self._head

    async def write(self, data: bytes) -> None:
        """Send more of the request; waits while the replica doesn't read.

        Raises:
            Broken: the connection ended.
        """
        if self._error is not None or self._transport is None:
            raise self._error or Broken("never connected")
        self._transport.write(data)
        if self._paused:
            self._writer = self._loop.create_future()
            await self._writer

    async def read(self) -> tuple[bytes, bool]:
        """The next bytes of the answer's body, and whether more follow.

        Raises:
            Broken: the connection ended before the answer did.
        """
        while not self._parts and not self._complete:
            if self._error is not None:
                raise self._error
            self._reader = self._loop.create_future()
            await self._reader
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()
        return data, not self._complete

    def close(self) -> None:
        """End the connection at once, whatever is under way."""
        self._fail(Broken("closed by the front"))
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's own class inherits nothing

    def pause_writing(self) -> None:
        """The replica reads slower than the client sends."""
        self._paused = True

    def resume_writing(self) -> None:
        """It caught up."""
        self._paused = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended; where the answer lasts until then, that completes it."""
        if self.answered and self._left is None and exc is None:
            self._finish()
        self._keep = False
        self._fail(Broken(str(exc) if exc else "the replica closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._error is not None:
            return
        self._buffer += data
        try:
            if not self.answered and not self._read_head():
                return
            self._read_body()
        except (ValueError, Broken) as error:
            self._fail(Broken(f"the replica's answer is no HTTP: {error}"))
            if self._transport is not None:
                self._transport.abort()

    # Reading

    def _read_head(self) -> bool:
        """Take the head from the buffer once it is whole; interim answers (1xx) are skipped."""
        while True:
            if self._head is None:
                raise Broken("data without a request")
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MOST_HEAD_BYTES:
                    raise Broken("its head is too long")
                return False
            lines = bytes(self._buffer[:end]).split(b"\r\n")
            del self._buffer[: end + 4]
            version, status_text, *_ = lines[0].split(b" ", 2)
            if not version.startswith(b"HTTP/1."):
                raise Broken("unknown version")
            status = int(status_text)
            headers: Headers = []
            for line in lines[1:]:
                name, colon, value = line.partition(b":")
                if not colon or not name or name != name.strip():
                    raise Broken("a malformed header")
                headers.append((name.lower(), value.strip(b" \t")))
            if status >= 200:
                self._frame(version, status, headers)
                if not self._head.done():
                    self._head.set_result(Head(status, headers))
                return True

    def _frame(self, version: bytes, status: int, headers: Headers) -> None:
        """Tell where the body ends (RFC 9112, section 6.3)."""
        found = dict(headers)
        tokens = found.get(b"connection", b"").lower()
        self._keep = b"close" not in tokens if version == b"HTTP/1.1" else b"keep-alive" in tokens
        coding = found.get(b"transfer-encoding", b"").lower()
        self._chunked = self._in_trailer = False
        if self._no_body or status in (204, 304):
            self._left = 0
        elif coding:
            if coding != b"chunked":
                raise Broken("an unknown transfer coding")
            self._chunked, self._left = True, 0
        elif b"content-length" in found:
            lengths = {value for name, value in headers if name == b"content-length"}
            text = lengths.pop()
            if lengths or not text.isdigit():
                raise Broken("an unclear length")
            self._left = int(text)
        else:
            self._left, self._keep = None, False
        if self._left == 0 and not self._chunked:
            self._finish()

    def _read_body(self) -> None:
        while self._buffer and not self._complete:
            if self._left is None:
                self._take(len(self._buffer))
            elif self._left > 0:
                self._left -= self._take(min(self._left, len(self._buffer)))
                if self._left == 0 and not self._chunked:
                    self._finish()
            elif not self._read_chunk_head():
                return
        if self._complete and self._buffer:
            raise Broken("more than its length said")

    def _read_chunk_head(self) -> bool:
        """Read the line before a chunk, or after the last one; False when it isn't whole yet."""
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MOST_HEAD_BYTES:
                raise Broken("a chunk without a length")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self._in_trailer:
            if not line:
                self._finish()
        elif line:
            digits = line.partition(b";")[0].strip()
            if not digits or digits.strip(b"0123456789abcdefABCDEF"):
                raise Broken("a chunk without a length")
            self._left = int(digits, 16)
            self._in_trailer = self._left == 0
        return True

    def _take(self, count: int) -> int:
        self._parts.append(bytes(self._buffer[:count]))
        del self._buffer[:count]
        self._held += count
        if self._held > READ_AHEAD_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake()
        return count

    def _finish(self) -> None:
        self._complete = True
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _fail(self, error: Broken) -> None:
        if self._error is None:
            self._error = error
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        for waiting in (self._reader, self._writer):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)


async def connect(host: str, port: int, seconds: float) -> Connection:
    """A new connection.

    Raises:
        Broken: nobody listens there, or not within *seconds*.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            _, connection = await loop.create_connection(Connection, host, port)
    except (OSError, TimeoutError) as error:
        raise Broken(f"{host}:{port} can't be reached: {error or 'timeout'}") from None
    return connection
