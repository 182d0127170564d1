"""What the front adds to a request, and what it loses while replicas restart one by one.

Three ways to the same two replicas: directly to one (what the front's overhead is measured
against), through the front, and through a naive round-robin proxy that knows nothing of readiness
(what the failures are measured against). Requests are sent on a fixed schedule and timed from the
moment they were due, so that a stall counts for every request it delays.
"""

import asyncio
import signal
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from evals.verdicts import bar, versions

RATE = 100.0
"""Requests per second."""
SECONDS = 6.0
CONNECTIONS = 32
ROLL_PAUSE = 0.5
DEADLINE = 20.0

REPLICA = """
import asyncio, os, signal, sys
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
draining = False
async def app(scope, receive, send):
    body = b"{}" * 500
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    status = 503 if scope["path"] == "/readyz" and draining else 200
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
async def main():
    server = Server(app, port=int(sys.argv[1]), interface=Interfaces.ASGINL,
                    log_level=LogLevels.error)
    loop = asyncio.get_running_loop()
    def drain():
        global draining
        draining = True
        loop.call_later(1.5, server.stop)
        loop.call_later(8, os._exit, 1)
    loop.add_signal_handler(signal.SIGTERM, drain)
    await server.serve()
    os._exit(0)  # granian's threads panic when the interpreter is taken away from them
asyncio.run(main())
"""
"""A replica as the academy's web replicas behave: on SIGTERM not ready, 1.5 s later gone."""


CONTROLS = ("direct", "naive", "direct_most_per_second", "naive_rolling")
"""Figures of the controls: no proxy at all, and one that passes requests round robin."""


@dataclass
class Load:
    """What one run of requests met."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Counts and latency percentiles in milliseconds."""
        cuts = (
            statistics.quantiles(self.latencies, n=100) if len(self.latencies) > 1 else [0.0] * 99
        )
        return {
            "requests": len(self.latencies) + len(self.failures),
            "failed": len(self.failures),
            "p50_ms": round(cuts[49] * 1000, 2),
            "p99_ms": round(cuts[98] * 1000, 2),
            "first_failures": self.failures[:3],
        }


def measure() -> dict[str, Any]:
    """Run everything; takes about 45 s on two cores."""
    found = asyncio.run(_measure())
    controls = {name: found.pop(name) for name in CONTROLS}
    return {
        "name": "front",
        "ours": found,
        "controls": controls,
        "bars": [
            bar(
                f"failed requests, {when}",
                found[run]["failed"],
                "0",
                holds=not found[run]["failed"],
            )
            for run, when in (("front", "at rest"), ("front_rolling", "rolling restart"))
        ],
        "versions": versions("granian"),
    }


def describe(result: dict[str, Any]) -> str:
    """The figures as a table for a person."""
    lines = [f"front: {RATE:.0f} requests/s over {CONNECTIONS} connections"]
    ours = result["ours"]
    rows = {**result["controls"], **ours}
    lines.append(f"  {'':<32}{'requests':>9}{'failed':>8}{'p50 ms':>9}{'p99 ms':>9}")
    for name, title in (
        ("direct", "direct to one replica"),
        ("naive", "naive round robin"),
        ("front", "front"),
        ("naive_rolling", "naive, rolling restart"),
        ("front_rolling", "front, rolling restart"),
    ):
        row = rows[name]
        lines.append(
            f"  {title:<32}{row['requests']:>9}{row['failed']:>8}{row['p50_ms']:>9.2f}"
            f"{row['p99_ms']:>9.2f}"
        )
    lines.append(
        f"  the front adds {ours['adds_p50_ms']:.2f} ms at p50, {ours['adds_p99_ms']:.2f} ms at"
        f" p99; at most {ours['front_most_per_second']:.0f} requests/s"
        f" (direct {rows['direct_most_per_second']:.0f})"
    )
    return "\n".join(lines)


async def _measure() -> dict[str, Any]:
    replica_ports = [_free_port(), _free_port()]
    front_port, naive_port = _free_port(), _free_port()
    result: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(_process("-c", REPLICA, str(port)))
            for port in replica_ports
        ]
        upstreams = [
            word
            for port in replica_ports
            for word in ("--upstream", f"replica-{port}=127.0.0.1:{port}")
        ]
        await stack.enter_async_context(
            _process("-m", "server.front", "--port", str(front_port), *upstreams)
        )
        await stack.enter_async_context(_naive(naive_port, replica_ports))
        for port in (*replica_ports, front_port):
            await _answers(port)
        for name, port in (
            ("direct", replica_ports[0]),
            ("naive", naive_port),
            ("front", front_port),
        ):
            await _offer(port, seconds=1.0)  # warm
            result[name] = (await _offer(port, seconds=SECONDS)).summary()
        for name, port in (("direct", replica_ports[0]), ("front", front_port)):
            result[f"{name}_most_per_second"] = await _most(port)
        for name, port in (("naive", naive_port), ("front", front_port)):
            result[f"{name}_rolling"] = await _rolling(port, replicas, replica_ports, stack)
    result["adds_p50_ms"] = round(result["front"]["p50_ms"] - result["direct"]["p50_ms"], 2)
    result["adds_p99_ms"] = round(result["front"]["p99_ms"] - result["direct"]["p99_ms"], 2)
    return result


async def _rolling(
    port: int,
    replicas: list[asyncio.subprocess.Process],
    replica_ports: list[int],
    stack: AsyncExitStack,
) -> dict[str, Any]:
    """Restart each replica twice, one after the other, while requests of three kinds come."""
    done = asyncio.Event()
    offering = asyncio.create_task(_offer(port, until=done, mixed=True))
    await asyncio.sleep(1)
    for _ in range(2):
        for index, replica_port in enumerate(replica_ports):
            replicas[index].send_signal(signal.SIGTERM)
            await replicas[index].wait()
            replicas[index] = await stack.enter_async_context(
                _process("-c", REPLICA, str(replica_port))
            )
            await _answers(replica_port)
            await asyncio.sleep(ROLL_PAUSE)
    done.set()
    return (await offering).summary()


async def _offer(
    port: int, *, seconds: float = 0.0, until: asyncio.Event | None = None, mixed: bool = False
) -> Load:
    """Send `RATE` requests a second to *port*, for *seconds* or *until* an event."""
    load = Load()
    free: asyncio.LifoQueue[_Client] = asyncio.LifoQueue()
    for _ in range(CONNECTIONS):
        free.put_nowait(_Client(port))
    pending: set[asyncio.Task[None]] = set()
    begun = time.perf_counter()
    number = 0
    while (until is not None and not until.is_set()) or number < seconds * RATE:
        due = begun + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        kind = ("GET /", "POST /", "GET /slow")[number % 3 if mixed else 0]
        task = asyncio.create_task(_one(free, kind, due, load))
        pending.add(task)
        task.add_done_callback(pending.discard)
        number += 1
    await asyncio.gather(*pending)
    while not free.empty():
        free.get_nowait().close()
    return load


async def _one(free: "asyncio.LifoQueue[_Client]", kind: str, due: float, load: Load) -> None:
    client = await free.get()
    try:
        async with asyncio.timeout(DEADLINE):
            status = await client.ask(kind)
        if status != 200:
            load.failures.append(f"{kind}: {status}")
        else:
            load.latencies.append(time.perf_counter() - due)
    except (OSError, TimeoutError, EOFError, ValueError) as error:
        client.close()
        load.failures.append(f"{kind}: {error!r}")
    finally:
        free.put_nowait(client)


async def _most(port: int, *, seconds: float = 3.0) -> float:
    """Requests per second when each connection sends its next request at once."""
    count = 0
    end = time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal count
        client = _Client(port)
        while time.perf_counter() < end:
            await client.ask("GET /")
            count += 1
        client.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return count / seconds


class _Client:
    """One kept connection, made anew when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, kind: str) -> int:
        """Send one request and read the whole answer; its status."""
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = b"x" * 2000 if kind.startswith("POST") else b""
        length = f"content-length: {len(body)}\r\n" if body else ""
        writer.write(f"{kind} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        size = next(int(x.partition(":")[2]) for x in lines if x.startswith("content-length"))
        await reader.readexactly(size)
        if "connection: close" in lines:
            self.close()
        return int(lines[0].split()[1])

    def close(self) -> None:
        """Drop the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@asynccontextmanager
async def _process(*arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", *arguments, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _naive(port: int, upstreams: list[int]) -> Any:
    """The control: each connection goes to the next replica, ready or not."""
    turn = 0

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        try:
            there = await asyncio.open_connection("127.0.0.1", upstreams[turn % len(upstreams)])
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer), return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield server
    finally:
        server.close()


async def _answers(port: int) -> None:
    """Wait until *port* answers 200."""
    await _poll(lambda: _Client(port).ask("GET /readyz"))


async def _poll(ask: Callable[[], Awaitable[int]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                if await ask() == 200:
                    return
            except (OSError, EOFError, ValueError):
                pass
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
