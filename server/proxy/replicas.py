"""The replicas behind the front: which are ready, how busy each is, connections to them."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from server.proxy.wire import Broken, Connection, connect

PROBE_SECONDS = 0.5
"""A draining replica goes on serving for at least two of these after it says so."""
PROBE_TIMEOUT = 1.0
MOST_MISSED_PROBES = 2
"""Probes without an answer until a replica counts as hung; a busy one may miss a single probe."""
CONNECT_SECONDS = 1.0
IDLE_SECONDS = 10.0
"""How long a connection is kept for the next request: well below the 30 s after which a replica
closes it, so that a request is never written into a closing connection."""
MOST_IDLE = 128


@dataclass(eq=False)
class Replica:
    """One replica as the front sees it."""

    name: str
    host: str
    port: int
    ready: bool = False
    in_flight: int = 0
    missed: int = 0
    note: str = "not asked yet"
    busy: set[Connection] = field(default_factory=set)
    idle: list[Connection] = field(default_factory=list)

    async def acquire(self) -> Connection:
        """A connection for one exchange, kept or new.

        Raises:
            Broken: the replica can't be reached.
        """
        oldest = time.monotonic() - IDLE_SECONDS
        while self.idle:
            connection = self.idle.pop()
            if connection.reusable and connection.idle_since > oldest:
                break
            connection.close()
        else:
            connection = await connect(self.host, self.port, CONNECT_SECONDS)
        self.busy.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep *connection* for the next exchange, or end it where that isn't possible."""
        self.busy.discard(connection)
        if connection.reusable and len(self.idle) < MOST_IDLE:
            connection.idle_since = time.monotonic()
            self.idle.append(connection)
        else:
            connection.close()

    def hang_up(self) -> None:
        """End every exchange that has no answer yet: a hung replica would never give one."""
        for connection in [c for c in self.busy if not c.answered]:
            connection.close()
        for connection in self.idle:
            connection.close()
        self.idle.clear()


class Replicas:
    """All replicas of one service, probed by one task each until `close`."""

    def __init__(self, replicas: Sequence[Replica], *, probe_path: str) -> None:
        self.all = tuple(replicas)
        self._probe_path = probe_path
        self._changed = asyncio.Event()
        self._probes: list[asyncio.Task[None]] = []
        self._turn = 0

    def begin(self) -> None:
        """Start probing."""
        self._probes = [asyncio.create_task(self._keep_probing(each)) for each in self.all]

    async def close(self) -> None:
        """Stop probing and end all kept connections."""
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        for replica in self.all:
            replica.hang_up()

    def choose(self, tried: Sequence[Replica] = ()) -> Replica | None:
        """The ready replica with the fewest requests under way; of equals, the next in turn."""
        ready = [each for each in self.all if each.ready and each not in tried]
        if not ready:
            return None
        self._turn += 1
        turn = self._turn % len(ready)
        return min(ready[turn:] + ready[:turn], key=lambda each: each.in_flight)

    async def wait_ready(self, seconds: float) -> Replica | None:
        """A ready replica as soon as there is one; None after *seconds*."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (found := self.choose()) is None:
                    self._changed.clear()
                    await self._changed.wait()
                return found
        return None

    def lost(self, replica: Replica, why: str) -> None:
        """A request met a replica that can't be reached: it gets none until a probe succeeds."""
        self._set(replica, ready=False, note=why)

    async def _keep_probing(self, replica: Replica) -> None:
        while True:
            began = time.monotonic()
            await self._probe(replica)
            # Not ready yet: look more often, so that a start is seen at once.
            pause = PROBE_SECONDS if replica.ready else PROBE_SECONDS / 4
            await asyncio.sleep(max(0.05, pause - (time.monotonic() - began)))

    async def _probe(self, replica: Replica) -> None:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                connection = await connect(replica.host, replica.port, PROBE_TIMEOUT)
                request = f"GET {self._probe_path} HTTP/1.1\r\nhost: localhost\r\n"
                head = await connection.begin(
                    f"{request}connection: close\r\n\r\n".encode(), no_body=False
                )
        except TimeoutError:
            replica.missed += 1
            if replica.missed >= MOST_MISSED_PROBES or not replica.ready:
                self._set(replica, ready=False, note="accepts, but doesn't answer")
                replica.hang_up()
        except Broken as error:
            self._set(replica, ready=False, note=str(error))
        else:
            replica.missed = 0
            ready = head.status == 200
            self._set(replica, ready=ready, note="" if ready else f"answers {head.status}")
        finally:
            if connection is not None:
                connection.close()

    def _set(self, replica: Replica, *, ready: bool, note: str) -> None:
        replica.note = note
        if ready and not replica.ready:
            replica.missed = 0
        replica.ready = ready
        if ready:
            self._changed.set()
