"""One replica of a trial's fleet: a light service of campus's kind, standard library alone.

    python -m evals.worlds.healing_parts.replica --home H --replica NAME --port N --data FOLDER

It serves `/healthz` and pages, and appends to a traffic file of the day. What it is like from its
start stands in `run/traits/NAME.json`; an order in `run/orders/NAME.json` is read on SIGUSR1 and
removed, so that it ends with the process. Both hold the fields of `Traits`.
"""

import argparse
import asyncio
import contextlib
import ctypes
import dataclasses
import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

EXPORT_SECONDS = 1.0


@dataclass(frozen=True)
class Traits:
    """How a replica behaves; every field has a harmless default."""

    door: str = "open"
    """`open`, `silent` (accepts, never answers), `partial` (a status line, then nothing),
    `closed` (nobody listens), `blocked` (its loop sleeps), `busy` (its loop computes)."""
    status: int = 200
    seconds: tuple[float, float] = (0.0, 0.002)
    """Range of the time an answer takes."""
    through: tuple[int, ...] = ()
    """Ports of replicas that must answer before this one's health does."""
    needs_database: bool = False
    """Whether its health waits for the database, which is away while `run/database-away` is."""
    note: str = ""
    """Text in the health answer."""
    says: str = ""
    """Text written to the log at once."""


def read_traits(path: Path) -> Traits:
    """The traits in *path*; the harmless ones where there is no such file.

    Raises:
        ValueError, TypeError: it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Traits()
    for name in ("seconds", "through"):
        if name in content:
            content[name] = tuple(content[name])
    return Traits(**content)


def write_traits(path: Path, traits: Traits) -> None:
    """Put *traits* where a replica reads them, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(traits)), encoding="utf-8")
    partial.replace(path)


class Replica:
    """The running service."""

    def __init__(self, home: Path, name: str, port: int, data: Path | None) -> None:
        self.name = name
        self.port = port
        self.exports = data / "exports" if data is not None else None
        self.database_away = home / "run" / "database-away"
        self.order = home / "run" / "orders" / f"{name}.json"
        self.traits = read_traits(home / "run" / "traits" / f"{name}.json")
        self.began = time.time()
        self.requests = 0
        self.server: asyncio.Server | None = None

    async def serve(self) -> None:
        """Serve until killed."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._take_order)
        self.server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        say(f"{self.name} answers on port {self.port}")
        self._become(self.traits)
        while True:
            self._export()
            await asyncio.sleep(EXPORT_SECONDS)

    def _take_order(self) -> None:
        traits = read_traits(self.order)
        self.order.unlink(missing_ok=True)
        # The door changes after this callback, so that the order is seen to be taken.
        asyncio.get_running_loop().call_soon(self._become, traits)

    def _become(self, traits: Traits) -> None:
        self.traits = traits
        if traits.says:
            say(traits.says)
        if traits.door == "closed" and self.server is not None:
            self.server.close()
        elif traits.door == "blocked":
            time.sleep(3600)
        elif traits.door == "busy":
            os.nice(19)
            while True:
                sum(range(10_000))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head.split(b" ", 2)[1].decode("latin-1"), writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, IndexError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        traits = self.traits
        await asyncio.sleep(random.uniform(*traits.seconds))  # noqa: S311
        if traits.door == "partial":
            writer.write(b"HTTP/1.1 200 OK\r\n")
            await writer.drain()
        if traits.door in ("silent", "partial"):
            await asyncio.Event().wait()
        status = traits.status
        if path == "/healthz":
            while traits.needs_database and self.database_away.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            for port in traits.through:
                if not await asks(port):
                    status = 503
        else:
            self.requests += 1
        body = json.dumps(
            {
                "status": "ok" if status < 400 else "degraded",
                "replica": self.name,
                "uptime_seconds": round(time.time() - self.began, 1),
                "requests": self.requests,
                **({"note": traits.note} if traits.note else {}),
            }
        ).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    def _export(self) -> None:
        if self.exports is None:
            return
        now = datetime.now(UTC)
        with contextlib.suppress(OSError):
            self.exports.mkdir(parents=True, exist_ok=True)
            path = self.exports / f"traffic-{self.name}-{now:%Y-%m-%d}.csv"
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{now.isoformat(timespec='seconds')},{self.requests}\n")


async def asks(port: int) -> bool:
    """Whether the replica at *port* answers 200; waits as long as it takes to answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            line = await reader.readline()
        finally:
            writer.close()
    except OSError:
        return False
    return b" 200 " in line


def say(text: str) -> None:
    """One entry of the log."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


def main() -> None:
    """Run one replica until a signal ends it; it never outlives its supervisor."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--replica", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path)
    chosen = parser.parse_args()
    asyncio.run(Replica(chosen.home, chosen.replica, chosen.port, chosen.data).serve())


if __name__ == "__main__":
    main()
