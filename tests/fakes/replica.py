"""A replica that does what a test scripts, byte by byte, and remembers what it was asked."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Script = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as the replica received it, and the connection to answer on."""

    head: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.head.split(" ", 2)[1]

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"ok", *, status: int = 200, extra: str = "") -> None:
        await self.say(
            f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body
        )

    async def client_gone(self) -> None:
        """Wait until the connection's other end is closed."""
        with contextlib.suppress(OSError):
            while await self.reader.read(4096):
                pass


async def answer_ok(exchange: Exchange) -> None:
    await exchange.answer()


@dataclass
class ScriptedReplica:
    """An HTTP server whose answers are functions; `/readyz` answers by `ready`."""

    name: str
    script: Script = answer_ok
    ready: bool | None = True
    """None: it accepts and never answers."""
    seen: list[Exchange] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> "ScriptedReplica":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Go away at once: nobody listens, open connections break."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")[:-4]:
                await self._handle(Exchange(head, reader, writer))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.path == "/readyz":
            if self.ready is None:
                await asyncio.Event().wait()
            await exchange.answer(status=200 if self.ready else 503)
            return
        length = int(exchange.headers.get("content-length", "0"))
        if length and not exchange.path.startswith("/early"):
            exchange.body = await exchange.reader.readexactly(length)
        elif exchange.headers.get("transfer-encoding") == "chunked":
            exchange.body = await _chunks(exchange.reader)
        self.seen.append(exchange)
        await self.script(exchange)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while size := int(await reader.readline(), 16):
        found += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return found
