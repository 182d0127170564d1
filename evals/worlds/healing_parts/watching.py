"""A world's own eyes: whether every replica answers and every disk has room, three times a second.

Nothing here is shared with the healer's probes, so that what it misses is not missed twice.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from evals.worlds.healing_parts.drawing import Drawn
from evals.worlds.healing_parts.files import Shelves
from tools.healing.policy import HealingPolicy

EVERY = 0.3
ANSWER_SECONDS = 1.0


@dataclass
class Watcher:
    """Looks at one world until cancelled."""

    drawn: Drawn
    ports: Mapping[str, int]
    shelves: Shelves
    well: dict[str, bool] = field(default_factory=dict)
    """Latest verdict by replica, and by `service:data` for disks."""
    changes: list[tuple[datetime, str, bool]] = field(default_factory=list)
    """Every change of a verdict."""
    _judged: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self.drawn.replicas:
                group.create_task(self._replica(name))
            for service in self.drawn.services:
                if service.limit_mb is not None:
                    group.create_task(self._disk(service.name))

    @property
    def whole(self) -> bool:
        """Everything is well now."""
        return bool(self.well) and all(self.well.values())

    def ill(self) -> list[str]:
        """What is not well now."""
        return sorted(name for name, ok in self.well.items() if not ok)

    def whole_since(self) -> datetime | None:
        """Since when all has been well; None where it is not, or never was otherwise."""
        if not self.whole or not self.changes:
            return None
        return max(at for at, _, _ in self.changes)

    async def settled(self, names: Sequence[str]) -> None:
        """Return once every one of *names* is well."""
        while not all(self.well.get(name) for name in names):
            await self._judged.wait()

    async def _replica(self, name: str) -> None:
        while True:
            self._judge(name, ok=await answers(self.ports[name]))
            await asyncio.sleep(EVERY)

    async def _disk(self, name: str) -> None:
        service = self.drawn.service(name)
        least = HealingPolicy().disk_free_percent
        while True:
            free = await asyncio.to_thread(self.shelves.free_percent, service)
            self._judge(f"{name}:data", ok=free >= least)
            await asyncio.sleep(EVERY)

    def _judge(self, name: str, *, ok: bool) -> None:
        if self.well.get(name, True) != ok:
            self.changes.append((datetime.now(UTC), name, ok))
        self.well[name] = ok
        self._judged.set()
        self._judged.clear()


async def answers(port: int, path: str = "/healthz") -> bool:
    """Whether a GET at *port* is answered 200 within `ANSWER_SECONDS`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
            finally:
                writer.close()
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return False
    return b" 200 " in head.split(b"\r\n", 1)[0]


async def visit(
    names: Sequence[str], ports: Mapping[str, int], per_second: float, dice: random.Random
) -> None:
    """Ask pages of random replicas among *names* until cancelled, *per_second* on average."""
    under_way: set[asyncio.Task[bool]] = set()
    try:
        while True:
            await asyncio.sleep(dice.expovariate(per_second))
            if len(under_way) < 20:
                port = ports[dice.choice(names)]
                task = asyncio.create_task(answers(port, f"/page/{dice.randrange(100)}"))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
    finally:
        for task in under_way:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*under_way, return_exceptions=True)
