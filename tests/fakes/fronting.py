"""The front as a process of its own, before replicas that a test scripts."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.fakes.replica import ScriptedReplica

WITHIN = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningFront:
    """The front as a process of its own, before two scripted replicas."""

    def __init__(self, replicas: list[ScriptedReplica]) -> None:
        self.replicas = replicas
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None
        self.client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=WITHIN)

    async def start(self) -> None:
        upstreams = [
            w for r in self.replicas for w in ("--upstream", f"{r.name}=127.0.0.1:{r.port}")
        ]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.front", "--port", str(self.port), *upstreams
        )
        await self.until(lambda health: health["ready"])

    async def health(self) -> dict[str, Any]:
        answer = await self.client.get("/front/healthz")
        found: dict[str, Any] = answer.json()
        return found

    async def until(self, holds: Any) -> None:
        """Wait until the front's own health says what *holds* looks for."""
        async with asyncio.timeout(WITHIN):
            while True:
                try:
                    if holds(await self.health()):
                        return
                except httpx2.TransportError:
                    pass
                await asyncio.sleep(0.02)

    async def until_ready(self, **expected: bool) -> None:
        await self.until(
            lambda health: all(
                each["ready"] is expected[each["name"]]
                for each in health["replicas"]
                if each["name"] in expected
            )
        )

    async def stop(self) -> int:
        await self.client.aclose()
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), WITHIN)


@asynccontextmanager
async def running_front() -> AsyncIterator[RunningFront]:
    """A front whose two replicas are ready."""
    replicas = [await ScriptedReplica("one").start(), await ScriptedReplica("two").start()]
    running = RunningFront(replicas)
    await running.start()
    await running.until_ready(one=True, two=True)
    yield running
    await running.stop()
    for replica in replicas:
        await replica.stop()
