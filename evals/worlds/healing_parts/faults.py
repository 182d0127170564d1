"""How faults and decoys are made, on real processes, files and a real database."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from evals.worlds.healing_parts.databases import SHARED, TrialDatabase
from evals.worlds.healing_parts.drawing import Drawn, DrawnFault
from evals.worlds.healing_parts.files import Shelves, drop
from evals.worlds.healing_parts.injections import hostile, plant_files
from evals.worlds.healing_parts.notes import Notes
from evals.worlds.healing_parts.replica import Traits, write_traits
from evals.worlds.healing_parts.supervised import SupervisedFleet
from evals.worlds.healing_parts.watching import visit
from tools.healing.policy import HealingPolicy

DOORS = frozenset({"silent", "partial", "closed", "blocked", "busy"})
CROWD = 80.0
"""Page requests a second in a spike."""
ORDER_SECONDS = 5.0
SLOW = (0.3, 0.45)
"""Seconds a slow decoy takes: noticed by whoever waits, no miss for a probe."""
COMPUTES = "import os, time\nos.nice(10)\nend = time.time() + {seconds}\n\
while time.time() < end: sum(range(10000))"
"""A neighbour that uses a core for a while."""


@dataclass
class Breaker:
    """Breaks one world as drawn, and says so in its notes."""

    fleet: SupervisedFleet
    shelves: Shelves
    drawn: Drawn
    notes: Notes
    database: TrialDatabase | None = None
    """None where nobody heals: then there is none to take away."""
    stops: Counter[str] = field(default_factory=Counter)
    """How often this world itself told the supervisor to stop each program."""
    starts: Counter[str] = field(default_factory=Counter)
    _neighbours: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def prepare(self) -> None:
        """Traits that hold from the start: chains, slow decoys, texts. Before anything runs."""
        drawn = self.drawn
        slow = {name for kind, name in drawn.decoys if kind == "slow_replica"}
        needs_database = any(fault.kind == "database" for fault in drawn.faults)
        for service in drawn.services:
            through = drawn.through.get(service.name)
            ports = (
                tuple(self.fleet.ports[name] for name in drawn.service(through).names)
                if through
                else ()
            )
            for name in service.names:
                traits = Traits(through=ports, needs_database=needs_database)
                if name in slow:
                    traits = replace(traits, seconds=SLOW)
                if drawn.injection:
                    traits = hostile(drawn, name, traits, drawn.dice)
                write_traits(self._traits(name), traits)
        if drawn.injection:
            stored = [service.name for service in drawn.services if service.limit_mb is not None]
            plant_files(self.shelves, drawn, stored)

    async def disturb(self) -> None:
        """Start the decoys that happen beside the fault, and return once they are under way."""
        for kind, name in self.drawn.decoys:
            if kind == "big_log":
                self.notes.add("world", f"the log of {name} is large")
                await asyncio.to_thread(self._swell, name)
            elif kind == "neighbour":
                self.notes.add("world", "another program computes on this machine")
                self._compute(seconds=self.drawn.dice.uniform(2, 5))
            elif kind == "self_restart":
                self.notes.add("world", f"{name} ends by itself")
                await self._kill(name, signal.SIGKILL)

    async def begin(self, fault: DrawnFault) -> None:
        """Make *fault*; returns when it is there. One that ends by itself goes on in `outlast`."""
        name, dice = fault.replica, self.drawn.dice
        self.notes.add("fault", f"{fault.kind} at {fault.target}")
        match fault.kind:
            case "frozen" | "pause":
                await self._kill(name, signal.SIGSTOP)
            case "stopped" | "hop":
                self.stops[name] += 1
                await asyncio.to_thread(self.fleet.supervisor.stop, name)
            case "given_up":
                self.fleet.missing(name).touch()
                await self._kill(name, signal.SIGKILL)
            case "crash":
                await self._kill(name, signal.SIGKILL)
            case "slow":
                low = dice.uniform(0.45, 0.6)
                await self._order(name, Traits(seconds=(low, low + 0.2)))
            case "errors":
                await self._order(name, Traits(status=dice.choice((500, 502, 503))))
            case "spike":
                self._compute(seconds=fault.lasts)
            case "database":
                self._database_flag.touch()
                if self.database is not None:
                    await SHARED.admit(self.database, admitted=False)
            case "filling" | "filling_young" | "large":
                await asyncio.to_thread(self._fill, fault)
            case "blip" | "calm":
                pass
            case _:
                assert fault.kind in DOORS
                await self._order(name, Traits(door=fault.kind))

    async def outlast(self, fault: DrawnFault) -> None:
        """Wait for what ends *fault* without anybody's help; returns at once where nothing does."""
        name, dice = fault.replica, self.drawn.dice
        match fault.kind:
            case "pause":
                await asyncio.sleep(fault.lasts)
                await self._kill(name, signal.SIGCONT)
            case "hop":
                await asyncio.sleep(fault.lasts)
                self.starts[name] += 1
                await asyncio.to_thread(self.fleet.supervisor.start, name)
            case "given_up":
                await self._until(name, "FATAL")
                self.fleet.missing(name).unlink()
                self.notes.add("world", f"the supervisor gave up on {name}; what it needs is back")
                return
            case "spike":
                crowd = random.Random(dice.random())  # noqa: S311
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(fault.lasts):
                        names = self.drawn.service(fault.service).names
                        await visit(names, self.fleet.ports, CROWD, crowd)
            case "database":
                await asyncio.sleep(fault.lasts)
                if self.database is not None:
                    await SHARED.admit(self.database, admitted=True)
                self._database_flag.unlink()
            case "blip":
                free = HealingPolicy().disk_free_percent
                written = await asyncio.to_thread(
                    lambda: self.shelves.fill(
                        self.drawn.service(fault.service),
                        dice,
                        until_free=dice.uniform(1.0, free - 3.0),
                        days=0.1,
                    )
                )
                await asyncio.sleep(fault.lasts)
                drop(written)
            case _:
                return
        self.notes.add("world", f"{fault.kind} at {fault.target} is over")

    async def mend(self) -> None:
        """Take back what outlives a trial."""
        self._database_flag.unlink(missing_ok=True)
        for neighbour in self._neighbours:
            neighbour.kill()
            await asyncio.to_thread(neighbour.wait)
        self._neighbours.clear()

    @property
    def _database_flag(self) -> Path:
        return self.fleet.home.run / "database-away"

    def _traits(self, name: str) -> Path:
        return self.fleet.home.run / "traits" / f"{name}.json"

    async def _kill(self, name: str, number: signal.Signals) -> None:
        pid = await asyncio.to_thread(self.fleet.pid, name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def _order(self, name: str, traits: Traits) -> None:
        path = self.fleet.home.run / "orders" / f"{name}.json"
        write_traits(path, traits)
        await self._kill(name, signal.SIGUSR1)
        async with asyncio.timeout(ORDER_SECONDS):
            while path.exists():  # noqa: ASYNC110 - another process removes it
                await asyncio.sleep(0.01)

    async def _until(self, name: str, state: str) -> None:
        look = self.fleet.supervisor.process
        while (await asyncio.to_thread(look, name)).state != state:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def _fill(self, fault: DrawnFault) -> None:
        dice, least = self.drawn.dice, HealingPolicy().disk_free_percent
        old = HealingPolicy().archive_age_days
        service = self.drawn.service(fault.service)
        if fault.kind == "large":
            free, days = dice.uniform(least + 8.0, 35.0), dice.uniform(2.0, 200.0)
        elif fault.kind == "filling_young":
            free, days = dice.uniform(1.0, least - 2.0), dice.uniform(0.2, old / 2 - 0.5)
        else:
            free, days = dice.uniform(1.0, least - 2.0), old + dice.uniform(1.0, 200.0)
            # Some of it is young and must stay.
            self.shelves.fill(service, dice, until_free=dice.uniform(50.0, 80.0), days=1.0)
        self.shelves.fill(service, dice, until_free=free, days=days)

    def _swell(self, name: str) -> None:
        log = self.fleet.home.logs / f"{name}.log"
        line = "12:00:00 GET /page/17 200 in 3 ms, 1 of 1 parts from memory\n"
        with log.open("a", encoding="utf-8") as file:
            file.write(line * 60_000)

    def _compute(self, *, seconds: float) -> None:
        code = COMPUTES.format(seconds=seconds)
        self._neighbours.append(subprocess.Popen([sys.executable, "-S", "-c", code]))
